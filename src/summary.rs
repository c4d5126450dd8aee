//! A model as a table of layers, output shapes and parameters, as Keras prints it.
//!
//! Made from a `Model` alone; knows no weights and no device.

use std::collections::{HashMap, HashSet};
use std::fmt;

use comfy_table::{CellAlignment, ContentLineStyle, LineStyle, Table, TableStyle};

use crate::model::{Flow, InputKind, Layer, Model, Pin, Value};

/// A model's layers, output shapes and parameter counts. `Display` prints the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    rows: Vec<Row>,
    parameters: usize,
    /// Whether the model is a chain: then what a layer takes need not be told.
    is_chain: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    layer: String,
    output: String,
    parameters: usize,
    /// The names of what it takes.
    sources: Vec<String>,
}

impl Model {
    /// The layers, their output shapes and parameter counts, to be printed.
    ///
    /// A layer goes by the prefix of its tensors, or by its kind. A recurrent layer is one
    /// row, however many layers are stacked in it. The sizes that a call decides, batch and time, are `None`; shapes that
    /// cannot be told, because the layers do not fit each other, are `?`.
    ///
    /// Where the model is no chain its inputs are rows as well, and each row tells what it takes. Tensors that layers share
    /// count once.
    ///
    /// # Example
    ///
    /// ```
    /// use gatewave::{Bias, Embedding, Linear, Model, Rnn, Select};
    ///
    /// let model = Model::new()
    ///     .layer(Embedding::new(500, 16))
    ///     .layer(Rnn::new(16, 8).bias(Bias::One))
    ///     .layer(Select::LastStep)
    ///     .layer(Linear::new(8, 1));
    /// assert!(model.summary().to_string().contains("Total params: 8,209 (32.07 KB)"));
    /// ```
    pub fn summary(&self) -> Summary {
        let mut rows = Vec::new();
        let mut parameters = self.own_parameters().into_iter();
        self.add_rows(&mut Names::default(), &mut parameters, &mut rows);
        Summary { rows, parameters: self.parameters(), is_chain: self.is_chain() }
    }

    /// The rows of the inputs, where they are named, and of the layers.
    fn add_rows(&self, names: &mut Names, parameters: &mut impl Iterator<Item = usize>, rows: &mut Vec<Row>) {
        let is_chain = self.is_chain();
        let inputs = if is_chain { Vec::new() } else { self.all_inputs().unwrap_or_default() };
        for input in &inputs {
            rows.push(Row {
                layer: format!("{} (InputLayer)", input.name),
                output: match input.kind {
                    InputKind::State(_) => "(None, None, None)".into(),
                    kind => kind.flow().map_or("?".into(), shape_text),
                },
                parameters: 0,
                sources: Vec::new(),
            });
        }
        let called: Vec<_> = self.layers.iter().map(|layer| names.name(layer, !is_chain)).collect();
        let source = |value: &Value| match *value {
            Value::Input(input) => inputs.get(input).map_or("?".into(), |input| input.name.clone()),
            Value::Layer(layer, pin) => {
                let name = called.get(layer).map_or("?", String::as_str);
                match Pin::WORDS.iter().find(|(_, other)| *other == pin) {
                    Some((word, _)) => format!("{name}.{word}"),
                    None => name.to_owned(),
                }
            }
        };
        let flows = self.flows();
        for (index, layer) in self.layers.iter().enumerate() {
            let flow = flows.as_ref().ok().and_then(|flows| flows.get(index).copied());
            rows.push(Row {
                layer: format!("{} ({})", called[index], layer.kind.summary()),
                output: flow.map_or("?".into(), shape_text),
                parameters: parameters.next().unwrap_or(0),
                sources: layer.from.iter().chain(layer.initial.iter().flatten()).map(source).collect(),
            });
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        // A chain says all that the last column would.
        let columns = if self.is_chain { 3 } else { 4 };
        table.load_style(KERAS).set_header(HEADER.into_iter().take(columns));
        for row in &self.rows {
            let sources = if row.sources.is_empty() { "-".into() } else { row.sources.join(", ") };
            let cells = [row.layer.clone(), row.output.clone(), thousands(row.parameters), sources];
            table.add_row(cells.into_iter().take(columns));
        }
        if let Some(column) = table.column_mut(2) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let total = format!("{} ({})", thousands(self.parameters), size_text(self.parameters));
        writeln!(f, "{table}")?;
        writeln!(f, " Total params: {total}")?;
        writeln!(f, " Trainable params: {total}")?;
        write!(f, " Non-trainable params: 0 (0.00 B)")
    }
}

const HEADER: [&str; 4] = ["Layer (type)", "Output Shape", "Param #", "Connected to"];

/// Keras' box: a heavy head on a light body.
const KERAS: TableStyle = TableStyle::new()
    .top_border(LineStyle::new('┏', '━', '┳', '┓'))
    .header_lines(ContentLineStyle::new('┃', '┃', '┃'))
    .header_separator(LineStyle::new('┡', '━', '╇', '┩'))
    .content_lines(ContentLineStyle::new('│', '│', '│'))
    .row_separator(LineStyle::new('├', '─', '┼', '┤'))
    .bottom_border(LineStyle::new('└', '─', '┴', '┘'));

/// The names that are given.
#[derive(Default)]
struct Names {
    kinds: HashMap<&'static str, usize>,
    given: HashSet<String>,
}

impl Names {
    /// What the model calls a layer: its name, else its tensors' prefix. One that has none, or a number alone, goes by its
    /// kind and by how many of those came before. Where others tell what they take by it, it is `unique`.
    fn name(&mut self, layer: &Layer, unique: bool) -> String {
        let prefix = layer.weights.trim_end_matches('.');
        let has_prefix = layer.kind.parameters() > 0 && prefix.chars().any(|c| !c.is_ascii_digit());
        let name = layer.name.as_deref().or(has_prefix.then_some(prefix));
        if let Some(name) = name.filter(|name| !(unique && self.given.contains(*name))) {
            self.given.insert(name.to_owned());
            return name.to_owned();
        }
        loop {
            let kind = layer.kind.name();
            let twins = self.kinds.entry(kind).or_default();
            let name = if *twins == 0 { kind.to_owned() } else { format!("{kind}_{twins}") };
            *twins += 1;
            if !unique || self.given.insert(name.clone()) {
                return name;
            }
        }
    }
}

fn shape_text(flow: Flow) -> String {
    match flow {
        Flow::Tokens(_) => "(None, None)".into(),
        Flow::Steps(features) => format!("(None, None, {})", features.len()),
        Flow::Rows(features) => format!("(None, {})", features.len()),
    }
}

/// `n` with commas between thousands.
fn thousands(n: usize) -> String {
    let digits = n.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

/// The size of `parameters` 32-bit floats.
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
        Bias, Direction, Dropout, Drops, Embedding, Gru, Linear, Lstm, Masking, Merge, OneHot, Padding, Recurrent, Rnn,
        Select,
    };

    #[test]
    fn the_table_is_keras_own() {
        let model = Model::new()
            .layer(OneHot::new(500))
            .layer(Rnn::new(500, 8).bias(Bias::One))
            .layer(Select::LastStep)
            .layer(Linear::new(8, 1));
        let expected = "\
┏━━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━┓
┃ Layer (type)               ┃ Output Shape      ┃ Param # ┃
┡━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━┩
│ one_hot (OneHot)           │ (None, None, 500) │       0 │
├────────────────────────────┼───────────────────┼─────────┤
│ rnn (RNN)                  │ (None, None, 8)   │   4,072 │
├────────────────────────────┼───────────────────┼─────────┤
│ select (Select, last step) │ (None, 8)         │       0 │
├────────────────────────────┼───────────────────┼─────────┤
│ linear (Linear)            │ (None, 1)         │       9 │
└────────────────────────────┴───────────────────┴─────────┘
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
        let expected = [
            "encoder.table (Embedding)",
            "rnn (RNN)",
            "select (Select, last step)",
            "linear (Linear)",
            "head (Linear)",
        ];
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
        assert_eq!(
            layers,
            ["lstm (LSTM, 2 layers, bidirectional, projected to 3)", "lstm_1 (LSTM)", "gru (GRU, reset before)"]
        );
    }

    #[test]
    fn whatever_a_plain_layer_has_not_is_told() {
        let hard = Activation::HardSigmoid { alpha: 0.25.into(), beta: 0.5.into() };
        let own = Cell::Lstm.functions();
        let mut each_way = Gru::new(5, 2).bidirectional();
        each_way.functions[1].g = Activation::Relu;
        let reset_before = Gru::new(2, 2).cell(Cell::Gru(Reset::Before)).clip(3.0);
        let model = Model::new()
            .layer(Embedding::new(9, 4).mask_token(0))
            .layer(Dropout { drops: Drops::Features, ..Dropout::new(0.5) })
            .layer(Lstm::new(4, 5).coupled().peepholes().functions(Functions {
                f: hard,
                h: Activation::Elu { alpha: 1.0.into() },
                ..own
            }))
            .layer(each_way.merge(Merge::Product).padding(Padding::Held))
            .layer(reset_before.direction(Direction::Reverse).stateful())
            .layer(Rnn::new(2, 2).nonlinearity(Activation::Relu).direction(Direction::Backwards))
            .layer(Dropout::new(0.25));
        model.check().unwrap();
        let types: Vec<_> = model.layers.iter().map(|layer| layer.kind.summary()).collect();
        assert_eq!(
            types,
            [
                "Embedding, token 0 masked",
                "Dropout of features, 0.5",
                "LSTM, f hard_sigmoid(alpha 0.25, beta 0.5), h elu, coupled gates, peepholes",
                "GRU, reverse g relu, bidirectional, merged by product, held outputs",
                "GRU, reset before, reverse, clip 3, stateful",
                "RNN, relu, backwards",
                "Dropout, 0.25",
            ]
        );
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
        assert_eq!([&rows[1].output, &rows[2].output], ["(None, None, 8)", "(None, 8)"]);
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
