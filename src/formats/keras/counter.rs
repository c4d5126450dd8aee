//! The names that archives give to layers: their class in another spelling, with a number from the second one on.
//!
//! Knows no layer.

use std::collections::HashMap;

/// Counts layers by class, as the paths in archives do.
#[derive(Default)]
pub(super) struct Counter(HashMap<String, usize>);

impl Counter {
    /// Returns the path of the next layer of `class`: `lstm`, then `lstm_1`.
    pub(super) fn path(&mut self, class: &str) -> String {
        let class = snake_case(class);
        let number = self.0.entry(class.clone()).and_modify(|n| *n += 1).or_insert(0);
        if *number == 0 { class } else { format!("{class}_{number}") }
    }
}

/// Returns `SimpleRNN` as `simple_rnn`, by Keras' two rules. It adds a `_` before a capital
/// with lower-case letters after it, and before one with a lower-case letter before it.
fn snake_case(class: &str) -> String {
    let letters: Vec<char> = class.chars().filter(|c| c.is_alphanumeric() || *c == '_').collect();
    let mut text = String::new();
    for (i, &c) in letters.iter().enumerate() {
        let follows = letters.get(i + 1).is_some_and(char::is_ascii_lowercase);
        let after = i > 0 && letters[i - 1].is_ascii_lowercase();
        if i > 0 && c.is_ascii_uppercase() && (follows || after) {
            text.push('_');
        }
        text.push(c.to_ascii_lowercase());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_become_paths_as_keras_writes_them() {
        for (class, path) in [
            ("LSTM", "lstm"),
            ("SimpleRNN", "simple_rnn"),
            ("TimeDistributed", "time_distributed"),
            ("SpatialDropout1D", "spatial_dropout1d"),
            ("ReLU", "re_lu"),
            ("LeakyReLU", "leaky_re_lu"),
            ("InputLayer", "input_layer"),
            ("LSTMCell", "lstm_cell"),
            ("StackedRNNCells", "stacked_rnn_cells"),
            ("CuDNNLSTM", "cu_dnnlstm"),
        ] {
            assert_eq!(snake_case(class), path);
        }
        let mut counter = Counter::default();
        assert_eq!(["LSTM", "Dense", "LSTM"].map(|class| counter.path(class)), ["lstm", "dense", "lstm_1"]);
    }
}
