//! Small ONNX files, written field by field, so that a test states what it changes.

/// A message, field after field.
#[derive(Clone, Default)]
pub(crate) struct Message(pub(crate) Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(u8::try_from(value & 0x7f).expect("seven bits") | 0x80);
            value >>= 7;
        }
        self.0.push(u8::try_from(value).expect("seven bits"));
    }

    pub(crate) fn int(mut self, field: u64, value: i64) -> Self {
        self.varint(field << 3);
        self.varint(value.cast_unsigned());
        self
    }

    pub(crate) fn float(mut self, field: u64, value: f32) -> Self {
        self.varint(field << 3 | 5);
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(crate) fn bytes(mut self, field: u64, value: &[u8]) -> Self {
        self.varint(field << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend(value);
        self
    }

    pub(crate) fn text(self, field: u64, value: &str) -> Self {
        self.bytes(field, value.as_bytes())
    }

    pub(crate) fn message(self, field: u64, value: &Self) -> Self {
        self.bytes(field, &value.0)
    }
}

/// A tensor of reals in the file; each is its index times `step`.
pub(crate) fn reals(name: &str, dims: &[i64], step: f32) -> Message {
    let count: i64 = dims.iter().product();
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let raw: Vec<u8> = (0..count).flat_map(|i| (i as f32 * step).to_le_bytes()).collect();
    shaped(name, 1, dims).bytes(9, &raw)
}

/// A tensor of these reals.
pub(crate) fn floats(name: &str, dims: &[i64], numbers: &[f32]) -> Message {
    let raw: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
    shaped(name, 1, dims).bytes(9, &raw)
}

/// A tensor of int8.
pub(crate) fn int8(name: &str, dims: &[i64], numbers: &[i8]) -> Message {
    shaped(name, 3, dims).bytes(9, &numbers.iter().map(|n| n.cast_unsigned()).collect::<Vec<_>>())
}

/// A tensor of uint8.
pub(crate) fn uint8(name: &str, dims: &[i64], numbers: &[u8]) -> Message {
    shaped(name, 2, dims).bytes(9, numbers)
}

/// A tensor of whole numbers.
pub(crate) fn wholes(name: &str, dims: &[i64], numbers: &[i64]) -> Message {
    numbers.iter().fold(shaped(name, 7, dims), |tensor, &n| tensor.int(7, n))
}

/// A tensor of this type and shape, without elements.
pub(crate) fn shaped(name: &str, data_type: i64, dims: &[i64]) -> Message {
    dims.iter().fold(Message::default(), |tensor, &n| tensor.int(1, n)).int(2, data_type).text(8, name)
}

pub(crate) fn int(name: &str, value: i64) -> Message {
    Message::default().text(1, name).int(3, value).int(20, 2)
}

pub(crate) fn float(name: &str, value: f32) -> Message {
    Message::default().text(1, name).float(2, value).int(20, 1)
}

pub(crate) fn text(name: &str, value: &str) -> Message {
    Message::default().text(1, name).text(4, value).int(20, 3)
}

pub(crate) fn ints(name: &str, values: &[i64]) -> Message {
    values.iter().fold(Message::default().text(1, name), |a, &n| a.int(8, n)).int(20, 7)
}

pub(crate) fn texts(name: &str, values: &[&str]) -> Message {
    values.iter().fold(Message::default().text(1, name), |a, value| a.text(9, value)).int(20, 8)
}

/// An attribute that is a graph.
pub(crate) fn graph(name: &str, graph: &Graph) -> Message {
    Message::default().text(1, name).message(6, &graph.fields).int(20, 5)
}

/// A graph under construction.
#[derive(Clone, Default)]
pub(crate) struct Graph {
    fields: Message,
    opset: i64,
}

impl Graph {
    pub(crate) fn new() -> Self {
        Self { fields: Message::default(), opset: 17 }
    }

    pub(crate) fn opset(mut self, opset: i64) -> Self {
        self.opset = opset;
        self
    }

    pub(crate) fn node(self, op: &str, inputs: &[&str], outputs: &[&str], attributes: &[Message]) -> Self {
        self.node_of("", op, inputs, outputs, attributes)
    }

    pub(crate) fn node_of(
        mut self,
        domain: &str,
        op: &str,
        ins: &[&str],
        outs: &[&str],
        attributes: &[Message],
    ) -> Self {
        let mut node = Message::default();
        for name in ins {
            node = node.text(1, name);
        }
        for name in outs {
            node = node.text(2, name);
        }
        node = node.text(3, &format!("the {op}")).text(4, op).text(7, domain);
        for attribute in attributes {
            node = node.message(5, attribute);
        }
        self.fields = self.fields.message(1, &node);
        self
    }

    pub(crate) fn initializer(mut self, tensor: &Message) -> Self {
        self.fields = self.fields.message(5, tensor);
        self
    }

    /// Adds an input with these axes: a number is a length, a word a variable.
    pub(crate) fn input(mut self, name: &str, data_type: i64, axes: &[&str]) -> Self {
        let shape = axes.iter().fold(Message::default(), |shape, axis| {
            let dim = match axis.parse() {
                Ok(length) => Message::default().int(1, length),
                Err(_) => Message::default().text(2, axis),
            };
            shape.message(1, &dim)
        });
        let tensor = Message::default().int(1, data_type).message(2, &shape);
        let info = Message::default().text(1, name).message(2, &Message::default().message(1, &tensor));
        self.fields = self.fields.message(11, &info);
        self
    }

    pub(crate) fn output(mut self, name: &str) -> Self {
        self.fields = self.fields.message(12, &Message::default().text(1, name));
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let opset = Message::default().int(2, self.opset);
        Message::default().int(1, 8).message(7, &self.fields).message(8, &opset).0
    }
}

/// Weights of a node of `gates` gates, 3 features, 2 units and `directions` directions.
pub(crate) fn weighted(graph: Graph, gates: i64, directions: i64) -> Graph {
    graph
        .initializer(&reals("W", &[directions, 2 * gates, 3], 0.01))
        .initializer(&reals("R", &[directions, 2 * gates, 2], 0.02))
        .initializer(&reals("B", &[directions, 4 * gates], 0.03))
}

/// An input X of time, batch and 3 features.
pub(crate) fn sequence(graph: Graph) -> Graph {
    graph.input("X", 1, &["time", "batch", "3"])
}

/// A GRU of X of 2 units in one direction, its outputs Y and H.
pub(crate) fn gru() -> Graph {
    weighted(sequence(Graph::new()), 3, 1).node("GRU", &["X", "W", "R", "B"], &["Y", "H"], &[int("hidden_size", 2)])
}

/// A GRU in both directions.
pub(crate) fn both() -> Graph {
    weighted(sequence(Graph::new()), 3, 2).node(
        "GRU",
        &["X", "W", "R", "B"],
        &["Y", "H"],
        &[int("hidden_size", 2), text("direction", "bidirectional")],
    )
}
