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
        no_whole_convolutions(&graph)?;
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

/// Refuses convolutions of whole numbers: ONNX pads them by the zero point, and rten computes something else.
fn no_whole_convolutions(graph: &proto::Graph) -> Result<()> {
    for node in &graph.node {
        if node.op_type == "ConvInteger" {
            let text = "rten, which runs what gatewave does not, computes this ConvInteger otherwise than ONNX says; a file \
                        without quantization can be read";
            return Err(misfit(text.into()).at(called(node)));
        }
        node.attribute.iter().filter_map(|attribute| attribute.g.as_deref()).try_for_each(no_whole_convolutions)?;
    }
    Ok(())
}
