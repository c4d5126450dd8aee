//! `If`, when its condition is known as the file is read: it is over shapes, or over an input that is set.
//!
//! PyTorch writes `squeeze` of an axis of unknown length in this way: one graph drops the axis if its length is
//! 1, and the other keeps it. The layers after it fit only one of the two, so the length must be 1 in every call.

use super::graph::{Graph, to_set};
use super::misfit;
use super::node::Node;
use super::proto;
use super::size::Size;
use super::value::{Asked, Value};
use crate::error::Result;

pub(super) fn branch(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    let given = |name: &str| {
        let given = node.graph(name)?;
        given
            .ok_or_else(|| misfit(format!("{name}: expected a graph, got none, or one that stands too deep in others")))
    };
    let (then_branch, else_branch) = (given("then_branch")?, given("else_branch")?);
    let meant = match graph.input(node, 0)? {
        Value::Numbers(truth) if truth.len() == 1 && truth.iter().all(|n| n.is(1)) => then_branch,
        Value::Numbers(truth) if truth.len() == 1 && truth.iter().all(|n| n.is(0)) => else_branch,
        Value::Equal(size, n) if n.is(1) && drops_an_axis(then_branch) => {
            if graph.known.equal(&size, &Size::of(1)).is_none() {
                return Err(misfit(format!("expected an axis that may have length 1, got {size}")));
            }
            then_branch
        }
        Value::Equal(size, n) => {
            let text = format!("which of its graphs is meant depends on the sizes of a call, on whether {size} is {n}");
            return Err(misfit(text + "; export the model with a fixed size there"));
        }
        Value::Asked(asked) => {
            let (Asked { input, with, .. }, kind) = (&asked, Value::Asked(asked.clone()).kind());
            let text = format!("which of its graphs is meant depends on the call, on {kind}");
            return Err(misfit(format!("{text}; {}", to_set(input, with))).of_input(input));
        }
        other => return Err(graph.untold(&other, "a condition over numbers that the file or shapes tell")),
    };
    let values = graph.inner(meant)?;
    if values.len() != node.outputs.len() {
        return Err(misfit(format!("expected {} outputs of each graph, got {}", node.outputs.len(), values.len())));
    }
    Ok(values)
}

/// Whether `graph` is the one for an axis of length 1.
fn drops_an_axis(graph: &proto::Graph) -> bool {
    graph.node.iter().any(|node| node.op_type == "Squeeze")
}
