//! A model as a table of layers, output shapes and parameters, as Keras prints it. `rows` makes the rows.
//!
//! Made from a `Model` alone; knows no weights and no device.

mod rows;

use std::fmt;

use crate::model::Model;
use crate::table::{KERAS, Table};

/// A model's layers, output shapes and parameter counts. `Display` prints the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    name: String,
    rows: Vec<Row>,
    /// Those that are trained.
    parameters: usize,
    /// Means and variances, which are not.
    statistics: usize,
    /// Whether the model is a chain: then the table has no column for the values that a layer takes.
    is_chain: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    layer: String,
    output: String,
    parameters: usize,
    /// The names of the values that it takes.
    sources: Vec<String>,
}

impl Model {
    /// Returns the layers, their output shapes and parameter counts, to be printed.
    ///
    /// The table is the one that Keras prints of such a model. A layer has its own name or
    /// the prefix of its tensors, or else the name of its class. Its type is the Keras class
    /// that computes it. A selection of a recurrent layer's result has no row: the layer
    /// itself has the shape of that result. A stack of layers is one row, `LSTM, 2 layers`.
    ///
    /// The sizes that a call decides, batch and steps, are `None`, unless the model was made for fixed
    /// ones ([`Model::batch_size`], [`Model::steps`]). A shape is `?` if it cannot be known because
    /// the layers do not fit each other. Layers that share tensors are one row, and count once.
    ///
    /// If the model is no chain, its inputs are rows as well. Each row then shows the
    /// values that it takes: the layer, which of its calls, and which of its results.
    ///
    /// # Example
    ///
    /// ```
    /// use gatewave::layer::Bias;
    /// use gatewave::{Embedding, Linear, Model, Rnn, Select};
    ///
    /// let model = Model::new()
    ///     .layer(Embedding::new(500, 16))
    ///     .layer(Rnn::new(16, 8).bias(Bias::One))
    ///     .layer(Select::LastStep)
    ///     .layer(Linear::new(8, 1));
    /// assert!(model.summary().to_string().contains("Total params: 8,209 (32.07 KB)"));
    /// ```
    pub fn summary(&self) -> Summary {
        let is_chain = self.is_chain();
        let usual = if is_chain { "sequential" } else { "functional" };
        Summary {
            name: self.name.clone().unwrap_or_else(|| usual.into()),
            rows: rows::of(self),
            parameters: self.parameters(),
            statistics: self.own_statistics().into_iter().fold(0, usize::saturating_add),
            is_chain,
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cells = |row: &Row| {
            let sources = if row.sources.is_empty() { "-".into() } else { row.sources.join(", ") };
            vec![row.layer.clone(), row.output.clone(), thousands(row.parameters), sources]
        };
        // In a chain, the last column would tell nothing new.
        let columns = if self.is_chain { 3 } else { 4 };
        let rows = self.rows.iter().map(cells).collect();
        let table = Table { style: &KERAS, header: &HEADER[..columns], rows, right: 2..3 };
        let total = |count: usize| format!("{} ({})", thousands(count), size_text(count));
        writeln!(f, "Model: \"{}\"", self.name)?;
        writeln!(f, "{table}")?;
        writeln!(f, " Total params: {}", total(self.parameters.saturating_add(self.statistics)))?;
        writeln!(f, " Trainable params: {}", total(self.parameters))?;
        write!(f, " Non-trainable params: {}", total(self.statistics))
    }
}

const HEADER: [&str; 4] = ["Layer (type)", "Output Shape", "Param #", "Connected to"];

/// Returns `n` with commas between thousands.
fn thousands(n: usize) -> String {
    let digits = n.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

/// Returns the size of `parameters` 32-bit floats.
fn size_text(parameters: usize) -> String {
    let mut size = parameters as f64 * 4.0;
    let mut unit = 0;
    const UNITS: [&str; 5] = ["B", "KB", "MB", "GB", "TB"];
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{size:.2} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::{Activation, Cell, Functions, Reset};
    use crate::model::{
        BatchNorm, Bias, Direction, Dropout, DropoutUnit, Embedding, Gru, Linear, Lstm, Masking, Merge, OneHot,
        Padding, Recurrent, Rnn, Select, SliceSteps,
    };

    #[test]
    fn the_table_is_keras_own() {
        let model = Model::new()
            .layer(OneHot::new(500))
            .layer(Rnn::new(500, 8).bias(Bias::One))
            .layer(Select::LastStep)
            .layer(Linear::new(8, 1));
        let expected = "\
Model: \"sequential\"
┏━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━┓
┃ Layer (type)           ┃ Output Shape      ┃ Param # ┃
┡━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━┩
│ one_hot (OneHot)       │ (None, None, 500) │       0 │
├────────────────────────┼───────────────────┼─────────┤
│ simple_rnn (SimpleRNN) │ (None, 8)         │   4,072 │
├────────────────────────┼───────────────────┼─────────┤
│ dense (Dense)          │ (None, 1)         │       9 │
└────────────────────────┴───────────────────┴─────────┘
 Total params: 4,081 (15.94 KB)
 Trainable params: 4,081 (15.94 KB)
 Non-trainable params: 0 (0.00 B)";
        assert_eq!(model.summary().to_string(), expected);
    }

    #[test]
    fn layers_go_by_the_prefixes_of_their_tensors() {
        let model = Model::new()
            .named_layer("encoder.table.", Embedding::new(9, 4))
            .named_layer("", Rnn::new(4, 3))
            .layer(Select::LastStep)
            .layer(Linear::new(3, 3))
            .named_layer("head.", Linear::new(3, 1));
        let layers: Vec<_> = model.summary().rows.into_iter().map(|row| row.layer).collect();
        let expected = ["encoder.table (Embedding)", "simple_rnn (SimpleRNN)", "dense (Dense)", "head (Dense)"];
        assert_eq!(layers, expected);
    }

    #[test]
    fn counts_are_those_of_keras() {
        assert_eq!(Model::new().layer(Rnn::new(10, 3).bias(Bias::One)).summary().parameters, 42);
        let embedded =
            Model::new().layer(Embedding::new(500, 16)).layer(Rnn::new(16, 8).bias(Bias::One)).layer(Linear::new(8, 1));
        assert_eq!(embedded.summary().parameters, 8_209);
    }

    #[test]
    fn a_stack_is_one_row_that_tells_its_layers_and_directions() {
        let model = Model::new()
            .layer(Lstm::new(4, 6).num_layers(2).bidirectional().proj_size(3))
            .layer(Lstm::new(6, 6))
            .layer(Gru::new(6, 2).cell(Cell::Gru(Reset::Before)));
        let layers: Vec<_> = model.summary().rows.into_iter().map(|row| row.layer).collect();
        let expected = ["bidirectional (Bidirectional, LSTM, 2 layers, projected to 3)", "lstm (LSTM)", "gru (GRU)"];
        assert_eq!(layers, expected);
    }

    #[test]
    fn what_keras_has_is_told_as_keras_does_and_what_it_has_not_in_words() {
        let own = Cell::Lstm.functions();
        let reset_before = Gru::new(2, 2).cell(Cell::Gru(Reset::Before)).clip(3.0);
        let model = Model::new()
            .layer(Embedding::new(9, 4).mask_token(0))
            .layer(Dropout { drops: DropoutUnit::Features, ..Dropout::new(0.5) })
            .layer(Lstm::new(4, 5).coupled().peepholes().functions(Functions { h: Activation::Relu, ..own }))
            .layer(Gru::new(5, 2).bidirectional().merge(Merge::Product).padding(Padding::Held))
            .layer(reset_before.direction(Direction::Reverse).stateful())
            .layer(Rnn::new(2, 2).nonlinearity(Activation::Relu).direction(Direction::Backwards))
            .layer(Dropout::new(0.25));
        model.check().unwrap();
        let types: Vec<_> = model.layers.iter().map(|layer| layer.kind.summary()).collect();
        assert_eq!(
            types,
            [
                "Embedding",
                "SpatialDropout1D",
                "LSTM, coupled gates, peepholes",
                "Bidirectional",
                "GRU, clip 3, reverse",
                "SimpleRNN",
                "Dropout",
            ]
        );
    }

    #[test]
    fn means_and_variances_count_as_parameters_that_are_not_trained() {
        let model = Model::new().layer(Linear::new(4, 3)).layer(BatchNorm::new(3)).layer(Rnn::new(3, 2));
        let text = model.summary().to_string();
        assert!(text.contains("│      12 │"), "{text}");
        let totals =
            " Total params: 41 (164.00 B)\n Trainable params: 35 (140.00 B)\n Non-trainable params: 6 (24.00 B)";
        assert!(text.ends_with(totals), "{text}");
    }

    #[test]
    fn sizes_that_are_fixed_are_shown_and_follow_the_steps() {
        let sliced = Model::new()
            .name("cut")
            .layer(Embedding::new(9, 4))
            .layer(SliceSteps::from(2))
            .layer(Lstm::new(4, 3))
            .layer(Select::AllSteps);
        assert!(sliced.summary().to_string().starts_with("Model: \"cut\"\n"));
        let shapes = |model: &Model| model.summary().rows.into_iter().map(|row| row.output).collect::<Vec<_>>();
        assert_eq!(shapes(&sliced), ["(None, None, 4)", "(None, None, 4)", "(None, None, 3)"]);
        let fixed = sliced.batch_size(8).steps(7);
        assert_eq!(shapes(&fixed), ["(8, 7, 4)", "(8, 5, 4)", "(8, 5, 3)"]);
        let row = Model::new().layer(Rnn::new(4, 3)).layer(Select::FinalHidden).batch_size(2).steps(5);
        assert_eq!(shapes(&row), ["(2, 3)"]);
    }

    #[test]
    fn a_selection_is_a_row_only_if_the_layer_before_it_is_no_stack_or_gives_all_steps_too() {
        let model = Model::new().layer(Rnn::new(4, 3)).layer(Dropout::new(0.5)).layer(Select::LastStep);
        let rows = |model: &Model| -> Vec<_> {
            model.summary().rows.into_iter().map(|row| format!("{} {}", row.layer, row.output)).collect()
        };
        let expected = [
            "simple_rnn (SimpleRNN) (None, None, 3)",
            "dropout (Dropout) (None, None, 3)",
            "get_item (GetItem) (None, 3)",
        ];
        assert_eq!(rows(&model), expected);
        let mut g = Model::graph();
        let x = g.sequence("x", 4);
        let lstm = g.add("lstm", Lstm::new(4, 3), x);
        let last = g.add("last", Select::LastOutput, lstm);
        g.output("steps", lstm);
        g.output("last", last);
        let states = ["x (InputLayer) (None, None, 4)", "lstm (LSTM) [(None, None, 3), (None, 3), (None, 3)]"];
        assert_eq!(rows(&g.finish().unwrap()), states);
    }

    #[test]
    fn peepholes_are_three_vectors_for_each_direction_and_layer() {
        let plain = Lstm::new(4, 6).num_layers(2).bidirectional();
        let count = |stack: Recurrent| Model::new().layer(stack).summary().parameters;
        assert_eq!(count(plain.clone().peepholes()) - count(plain), 3 * 6 * 4);
        assert_eq!(count(Lstm::new(4, 6).peepholes()), 4 * 6 * (4 + 6 + 2) + 18);
    }

    #[test]
    fn a_merged_output_is_as_wide_as_one_direction() {
        let model = Model::new().layer(Masking::new(3, 0.0)).layer(Rnn::new(3, 8).bidirectional().merge(Merge::Sum));
        let rows = model.layer(Select::LastOutput).summary().rows;
        assert_eq!([&rows[0].output, &rows[1].output], ["(None, None, 3)", "(None, 8)"]);
    }

    #[test]
    fn layers_that_do_not_fit_have_no_shapes() {
        let model = Model::new().layer(Rnn::new(10, 3)).layer(Linear::new(4, 2));
        assert!(model.summary().rows.iter().all(|row| row.output == "?"));
    }

    #[test]
    fn sizes_and_thousands_read_as_keras_writes_them() {
        assert_eq!(size_text(42), "168.00 B");
        assert_eq!(size_text(1 << 20), "4.00 MB");
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(1_234_567), "1,234,567");
        assert_eq!(thousands(123_456), "123,456");
    }
}
