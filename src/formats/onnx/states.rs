//! The initial states of RNN, LSTM and GRU: zero, from the file, inputs of the graph, or results of other nodes.

use ndarray::IxDyn;

use super::constant::Constant;
use super::graph::{Draft, Graph, Of};
use super::misfit;
use super::node::Node;
use super::size::{Size, shape_text};
use super::value::{Axis, Feed, FeedAxis, Fill, Filled, Repeated, Role, Value};
use crate::error::Result;
use crate::model::{Dim, INITIAL_CELL, INITIAL_HIDDEN, Initial, InputValue, Recurrent, State};

/// The order of the axes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// `layout` 0: time, batch; directions before the batch.
    TimeMajor,
    /// `layout` 1: batch, time; directions after both.
    BatchMajor,
}

/// The initial states of a node; zero if all are empty.
#[derive(Default)]
pub(super) struct Begin {
    /// States from the file, by our names.
    pub(super) learned: Vec<(String, Constant)>,
    /// States that the caller supplies. Their link is not known yet.
    pub(super) ports: Vec<Draft>,
    /// Links whose rows are the states: hidden and cell.
    pub(super) rows: [Option<usize>; 2],
}

impl Begin {
    pub(super) fn initial(&self) -> Initial {
        if self.learned.is_empty() { Initial::Zero } else { Initial::Learned }
    }
}

/// Reads the initial states of a node with the batch axis `batch`.
/// Zeros are left out, and other constants become weights.
pub(super) fn begin(
    graph: &mut Graph,
    node: &Node<'_>,
    layout: Layout,
    stack: &Recurrent,
    batch: &Axis,
) -> Result<Begin> {
    let mut states = Vec::new();
    for (index, state, name) in [(5, State::Hidden, "initial_h"), (6, State::Cell, "initial_c")] {
        if state.is_of(stack) {
            states.push((state, name, graph.optional(node, index)?));
        }
    }
    // An input that also flows elsewhere is features. A part of them may be a state.
    let computed = |value: &Option<Value>| match value {
        Some(Value::Data(_)) => true,
        Some(Value::Input(feed)) => {
            graph.flows_too(feed) || feed.fixed.len() > 1 || feed.axes.last().is_some_and(|axis| !axis.whole)
        }
        _ => false,
    };
    let any_computed = states.iter().any(|(.., value)| computed(value));
    let (mut begin, mut zeros) = (Begin::default(), Vec::new());
    for (state, name, value) in states {
        let local = if state == State::Hidden { INITIAL_HIDDEN } else { INITIAL_CELL };
        match value {
            Some(value) if any_computed && graph.flows(&value) => {
                let link = rows(graph, value, layout, stack, batch).map_err(|e| e.at(name))?;
                begin.rows[usize::from(state == State::Cell)] = Some(link);
            }
            Some(Value::Input(feed)) => {
                begin.ports.push(state_port(graph, &feed, state, layout, stack, batch).map_err(|e| e.at(name))?);
            }
            Some(value) => match learned(graph, value, layout, stack).map_err(|e| e.at(name))? {
                Some(constant) => begin.learned.push((local.to_owned(), constant)),
                None => zeros.push(local.to_owned()),
            },
            None => zeros.push(local.to_owned()),
        }
    }
    if !begin.learned.is_empty() {
        if !begin.ports.is_empty() {
            let text = "initial_h and initial_c: expected both from the caller or both of the file, got one of each";
            return Err(misfit(text.into()));
        }
        if begin.rows != [None; 2] {
            let text = "initial_h and initial_c: expected both computed or both of the file, got one of each";
            return Err(misfit(text.into()));
        }
        for local in zeros {
            let shape = vec![stack.directions(), stack.hidden_size];
            let zeros = Constant::filled(0.0, shape, graph.limit)?;
            begin.learned.push((local, zeros));
        }
        begin.learned.sort_by_key(|(local, _)| local != INITIAL_HIDDEN);
    }
    Ok(begin)
}

/// Returns the link whose rows are the states `value`, with the directions side by side.
fn rows(graph: &mut Graph, value: Value, layout: Layout, stack: &Recurrent, batch: &Axis) -> Result<usize> {
    let data = graph.data(value, None)?;
    let (directions, hidden) = (stack.directions(), stack.hidden_size);
    let [first, second, Axis { role: Role::Features, size, .. }] = &data.axes[..] else {
        return Err(misfit(format!("expected directions, batch and features, got {}", data.axes_text())));
    };
    let (of_directions, rows) = if layout == Layout::TimeMajor { (first, second) } else { (second, first) };
    let fits = match of_directions.role {
        Role::Parts => of_directions.size == Size::len(directions),
        Role::One | Role::Open(_) => directions == 1 && of_directions.size.is(1),
        _ => false,
    };
    if !fits || *size != Size::len(hidden) {
        return Err(misfit(format!("expected {directions} parts of {hidden} features, got {}", data.axes_text())));
    }
    let rows = graph.settle(rows, Dim::Batch)?;
    if rows.sorted != batch.sorted {
        return Err(misfit("expected states in the order of the rows of X".into()));
    }
    let link = graph.links.exact(&data.flat())?;
    graph.links.row(link)
}

/// Returns the states `[D, H]` that `value` gives each row of the batch; `None` if they are zero.
fn learned(graph: &Graph, value: Value, layout: Layout, stack: &Recurrent) -> Result<Option<Constant>> {
    let sizes = value.sizes()?;
    let constant = match value {
        Value::Filled(Filled { fill: Fill::Real(0.0), .. }) => return Ok(None),
        Value::Filled(Filled { fill: Fill::Real(x), .. }) => Constant::filled(x, vec![1; sizes.len()], graph.limit)?,
        Value::Constant(constant) | Value::Repeated(Repeated { constant, .. }) => constant,
        other => return Err(misfit(format!("expected constants or an input, got {}", other.kind()))),
    };
    if constant.is_zero()? {
        return Ok(None);
    }
    let (directions, hidden) = (stack.directions(), stack.hidden_size);
    let (batch, wanted) = match layout {
        Layout::TimeMajor => (1, [Some(directions), None, Some(hidden)]),
        Layout::BatchMajor => (0, [None, Some(directions), Some(hidden)]),
    };
    let fits = |(size, wanted): (&Size, &Option<usize>)| wanted.is_none_or(|wanted| *size == Size::len(wanted));
    if sizes.len() != 3 || !sizes.iter().zip(&wanted).all(fits) {
        let text = match layout {
            Layout::TimeMajor => format!("[{directions}, batch, {hidden}]"),
            Layout::BatchMajor => format!("[batch, {directions}, {hidden}]"),
        };
        return Err(misfit(format!("expected {text}, got {}", shape_text(&sizes))));
    }
    let rows = constant.array()?;
    let axis = ndarray::Axis(batch);
    let Some(first) = rows.axis_iter(axis).next() else { return Err(misfit("expected a row, got none".into())) };
    if rows.axis_iter(axis).any(|row| row != first) {
        let text = format!(
            "expected one state for all rows of the batch, got {} that differ; make it an input of the graph",
            rows.len_of(axis)
        );
        return Err(misfit(text));
    }
    // A repeated axis has length 1 here.
    let shape = [directions, hidden];
    Constant::computed(vec![constant], shape.to_vec(), graph.limit, move |of| {
        let row = of[0].index_axis(axis, 0);
        row.broadcast(IxDyn(&shape)).expect("checked to stretch").to_owned()
    })
    .map(Some)
}

/// Returns the port of a state. Its axes follow from their positions at the node.
fn state_port(
    graph: &Graph,
    feed: &Feed,
    state: State,
    layout: Layout,
    stack: &Recurrent,
    batch: &Axis,
) -> Result<Draft> {
    let dims = match layout {
        Layout::TimeMajor => [Dim::Layers, Dim::Batch, Dim::Features],
        Layout::BatchMajor => [Dim::Batch, Dim::Layers, Dim::Features],
    };
    let layers = usize::from(layout == Layout::BatchMajor);
    if feed.axes.len() != 3 {
        return Err(misfit(format!("expected an input of three axes, got {}", feed.axes.len())));
    }
    let sizes: Vec<Size> = graph.inputs[feed.input].sizes.iter().map(|size| size.clone().with(&graph.known)).collect();
    let (mut axes, mut first) = (vec![Dim::One; sizes.len()], 0);
    for (axis, dim) in feed.axes.iter().zip(dims) {
        let size = match dim {
            Dim::Layers => Some(Size::len(stack.directions())),
            Dim::Features => Some(Size::len(stack.hidden_size)),
            _ => None,
        };
        // If the file leaves a length open, the caller has to pass the right one.
        if let (Some(wanted), Some(_)) = (&size, axis.size.value())
            && axis.size != *wanted
        {
            return Err(misfit(format!("expected {wanted} along {dim:?}, got {}", axis.size)));
        }
        match axis.source {
            Some(source) => axes[source] = dim,
            None if dim == Dim::Features && stack.hidden_size != 1 => {
                return Err(misfit("expected an axis of features".into()));
            }
            None => {}
        }
        match dim {
            Dim::Layers => first = axis.start,
            Dim::Batch if axis.sorted != batch.sorted => {
                return Err(misfit("expected states in the order of the rows of X".into()));
            }
            _ if axis.whole => {}
            _ => return Err(misfit(format!("a part of an input along {dim:?}"))),
        }
    }
    // The state may be one of several along an axis that the node does not see.
    if let ([(source, at)], Some(FeedAxis { source: None, .. })) = (&feed.fixed[..], feed.axes.get(layers)) {
        (axes[*source], first) = (Dim::Layers, *at);
    }
    if let Some((_, size)) = axes.iter().zip(&sizes).find(|(dim, size)| **dim == Dim::One && !size.is(1)) {
        return Err(misfit(format!("an input with an axis of {size} that the node does not see")));
    }
    Ok(Draft { input: feed.input, value: InputValue::State { stack: 0, state, first }, axes, of: Of::Link(0) })
}
