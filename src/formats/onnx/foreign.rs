//! Some nodes of a graph as an ONNX file for another runtime.
//!
//! Knows the messages of a file, and what that runtime (rten 0.27) does in another way than ONNX says.

use std::collections::HashMap;

use prost::Message;

use super::constant::fill;
use super::misfit;
use super::net::{Net, Piece, called};
use super::proto;
use super::source::Sources;
use crate::error::Result;
use crate::formats::cut::Foreign;

/// Returns `piece` for another runtime.
pub(super) fn foreign(model: &proto::Model, net: &Net<'_>, piece: &Piece, mut sources: Sources) -> Foreign {
    let own: HashMap<String, proto::TensorType> = HashMap::new();
    let mut graph = net.graph_of(piece, &own);
    for input in &mut graph.input {
        // What the file says about a tensor between nodes may be outdated.
        if let Some(told) = net.graph.input.iter().find(|other| other.name == input.name) {
            input.clone_from(told);
        }
    }
    let (ir_version, opset_import) = (model.ir_version.max(1), model.opset_import.clone());
    let nodes =
        piece.nodes.iter().map(|&node| (called(&net.graph.node[node]), net.graph.node[node].op_type.clone())).collect();
    let bytes = move || {
        filled(&mut graph, &mut sources)?;
        padded_apart(&mut graph)?;
        // A name may not be that of a tensor, as exporters write it: the other runtime takes one for the other.
        graph.node.iter_mut().for_each(|node| node.name = called(node));
        Ok(proto::Model { ir_version, graph: Some(graph), opset_import }.encode_to_vec())
    };
    Foreign { bytes: Box::new(bytes), nodes }
}

/// Brings the elements of all tensors into `graph`. Graphs nest a few deep: the file is read so.
fn filled(graph: &mut proto::Graph, sources: &mut Sources) -> Result<()> {
    for tensor in &mut graph.initializer {
        fill(tensor, sources).map_err(|e| e.at(format!("initializer {:?}", tensor.name)))?;
    }
    for node in &mut graph.node {
        let place = called(node);
        for attribute in &mut node.attribute {
            if let Some(tensor) = &mut attribute.t {
                fill(tensor, sources).map_err(|e| e.at(&place))?;
            }
            if let Some(inner) = &mut attribute.g {
                filled(inner, sources)?;
            }
        }
    }
    Ok(())
}

/// Pads what convolutions of whole numbers take by nodes of their own. ONNX pads by the zero point, and rten by another
/// number.
fn padded_apart(graph: &mut proto::Graph) -> Result<()> {
    let mut nodes = Vec::with_capacity(graph.node.len());
    for (index, mut node) in std::mem::take(&mut graph.node).into_iter().enumerate() {
        let place = called(&node);
        for attribute in &mut node.attribute {
            let says = attribute.s.as_deref().unwrap_or_default();
            if node.op_type == "ConvInteger" && attribute.name == "auto_pad" && says.starts_with(b"SAME") {
                let text = "attribute auto_pad: expected NOTSET or VALID, and pads where there are some";
                return Err(misfit(text.into()).at(&place));
            }
            if let Some(inner) = &mut attribute.g {
                padded_apart(inner)?;
            }
        }
        let pads = node.attribute.iter_mut().find(|a| node.op_type == "ConvInteger" && a.name == "pads");
        if let Some(pads) = pads.filter(|pads| pads.ints.iter().any(|&n| n != 0))
            && !node.input.is_empty()
        {
            let (before, after) = pads.ints.split_at(pads.ints.len() / 2);
            let all: Vec<i64> = [&[0, 0], before, &[0, 0], after].concat();
            pads.ints.iter_mut().for_each(|n| *n = 0);
            // No file has such names beside its own.
            let (amounts, padded) = (format!("\0pads {index}"), format!("\0padded {index}"));
            graph.initializer.push(proto::Tensor {
                name: amounts.clone(),
                data_type: 7,
                dims: vec![i64::try_from(all.len()).unwrap_or(i64::MAX)],
                int64_data: all,
                ..proto::Tensor::default()
            });
            let by = node.input.get(2).cloned().unwrap_or_default();
            let taken = std::mem::replace(&mut node.input[0], padded.clone());
            nodes.push(proto::Node {
                input: vec![taken, amounts, by],
                output: vec![padded],
                op_type: "Pad".to_owned(),
                ..proto::Node::default()
            });
        }
        nodes.push(node);
    }
    graph.node = nodes;
    Ok(())
}
