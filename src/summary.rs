//! A model as a table of layers, output shapes and parameters, as Keras prints it.
//!
//! Made from a `Model` alone; knows no weights and no device.

use std::fmt;

use comfy_table::{CellAlignment, ContentLineStyle, LineStyle, Table, TableStyle};

use crate::cell::{Activation, Cell, Reset};
use crate::model::{Direction, Flow, Layer, LayerKind, Model, Recurrent, Select};

/// A model's layers, output shapes and parameter counts. `Display` prints the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    rows: Vec<Row>,
    parameters: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    layer: String,
    output: String,
    parameters: usize,
}

impl Model {
    /// The layers, their output shapes and parameter counts, to be printed.
    ///
    /// A recurrent layer is one row, however many layers are stacked in it. The sizes that a call decides, batch and
    /// time, are `None`; shapes that cannot be told, because the layers do not fit each other, are `?`.
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
        let flows = self.flows().ok();
        let mut names = Vec::new();
        let row = |(index, layer): (usize, &Layer)| {
            let name = layer.kind.name();
            let twins = names.iter().filter(|&&other| other == name).count();
            names.push(name);
            let name = if twins == 0 { name.to_owned() } else { format!("{name}_{twins}") };
            Row {
                layer: format!("{name} ({})", type_text(&layer.kind)),
                output: flows.as_ref().map_or("?".into(), |flows| shape_text(flows[index])),
                parameters: layer.kind.parameters(),
            }
        };
        Summary { rows: self.layers.iter().enumerate().map(row).collect(), parameters: self.parameters() }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_style(KERAS).set_header(["Layer (type)", "Output Shape", "Param #"]);
        for row in &self.rows {
            table.add_row([row.layer.clone(), row.output.clone(), thousands(row.parameters)]);
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

/// Keras' box: a heavy head on a light body.
const KERAS: TableStyle = TableStyle::new()
    .top_border(LineStyle::new('┏', '━', '┳', '┓'))
    .header_lines(ContentLineStyle::new('┃', '┃', '┃'))
    .header_separator(LineStyle::new('┡', '━', '╇', '┩'))
    .content_lines(ContentLineStyle::new('│', '│', '│'))
    .row_separator(LineStyle::new('├', '─', '┼', '┤'))
    .bottom_border(LineStyle::new('└', '─', '┴', '┘'));

/// The type, and what tells a layer from its siblings: `LSTM, 2 layers, bidirectional`.
fn type_text(kind: &LayerKind) -> String {
    match kind {
        LayerKind::Embedding(_) => "Embedding".into(),
        LayerKind::OneHot(_) => "OneHot".into(),
        LayerKind::Recurrent(stack) => stack_text(stack),
        LayerKind::Select(Select::AllSteps) => "Select, all steps".into(),
        LayerKind::Select(Select::LastStep) => "Select, last step".into(),
        LayerKind::Select(Select::FinalHidden) => "Select, final hidden state".into(),
        LayerKind::Select(Select::LastOutput) => "Select, last output".into(),
        LayerKind::Linear(_) => "Linear".into(),
        LayerKind::Masking(masking) => format!("Masking, {}", masking.value),
        LayerKind::Dropout(_) => "Dropout".into(),
        LayerKind::Activation(activation) => format!("Activation, {activation}"),
    }
}

fn stack_text(stack: &Recurrent) -> String {
    let cell = match stack.cell {
        Cell::Rnn if stack.functions[0].f == Activation::Relu => "RNN, relu",
        Cell::Rnn => "RNN",
        Cell::Lstm => "LSTM",
        Cell::Gru(Reset::After) => "GRU",
        Cell::Gru(Reset::Before) => "GRU, reset before",
    };
    let mut text = cell.to_owned();
    if stack.num_layers > 1 {
        text += &format!(", {} layers", stack.num_layers);
    }
    if stack.direction == Direction::Both {
        text += ", bidirectional";
    }
    if let Some(size) = stack.proj_size {
        text += &format!(", projected to {size}");
    }
    text
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
    use crate::model::{Bias, Embedding, Gru, Linear, Lstm, OneHot, Rnn};

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
