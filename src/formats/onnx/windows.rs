//! Pools over windows of time: `MaxPool` and `AveragePool` of batch, features and time.

use super::graph::Graph;
use super::links::What;
use super::misfit;
use super::node::Node;
use super::size::Size;
use super::value::{At, Role, Value};
use crate::error::Result;
use crate::model::{Dim, PoolPadding, Reduce, WindowPool};

/// Reads a pool over windows of the steps.
pub(super) fn pool(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    let value = graph.input(node, 0)?;
    if value.sizes()?.len() != 3 {
        return Err(misfit(format!("expected batch, features and time, got {} axes", value.sizes()?.len())));
    }
    let mut pool = described(node)?;
    let mut data = graph.data(value.permuted(&[0, 2, 1])?, None)?;
    if !matches!(data.axes[1].role, Role::Time | Role::Open(_)) {
        return Err(misfit(format!("expected steps, got axis 2 of {}", data.axes_text())));
    }
    data.axes[1] = graph.settle(&data.axes[1], Dim::Time)?;
    if data.segments().any(|segment| segment.at != At::All || graph.links.link(segment.link).time.is_none()) {
        return Err(misfit("a pool of a row that meets steps".into()));
    }
    // A graph counts the steps behind the end of a row as any others.
    pool.all_steps = true;
    let len = count(&pool, &data.axes[1].size)?;
    let mut data = graph.links.through(data, What::Layer(pool.into()), true)?;
    data.axes[1].size = len.unwrap_or_else(|| graph.unknown());
    let pooled = Value::Data(data).permuted(&[0, 2, 1])?;
    Ok(vec![pooled, Value::Unread("the places of the largest steps".into())])
}

/// Returns the pool that the attributes of `node` describe.
fn described(node: &Node<'_>) -> Result<WindowPool> {
    let number = |name: &str, n: i64| {
        usize::try_from(n).map_err(|e| misfit(format!("{name}: expected no negative number, got {n}")).because(e))
    };
    let one = |name: &str| match node.ints(name)? {
        None => Ok(None),
        Some(&[n]) => number(name, n).map(Some),
        Some(other) => Err(misfit(format!("{name}: expected one number, for time, got {}", other.len()))),
    };
    let size = one("kernel_shape")?.ok_or_else(|| misfit("kernel_shape: expected one number, got none".into()))?;
    let reduce = if node.op == "MaxPool" { Reduce::Max } else { Reduce::Mean };
    let mut pool = WindowPool::new(reduce, size).stride(one("strides")?.unwrap_or(1));
    pool.dilation = one("dilations")?.unwrap_or(1);
    pool.ceil = node.flag("ceil_mode")?;
    pool.counts_padding = node.op == "AveragePool" && node.flag("count_include_pad")?;
    let pads = match node.ints("pads")? {
        None => PoolPadding::NONE,
        Some(&[before, after]) => {
            PoolPadding::Around { before: number("pads", before)?, after: number("pads", after)? }
        }
        Some(other) => return Err(misfit(format!("pads: expected two numbers, for time, got {}", other.len()))),
    };
    pool.padding = match node.text("auto_pad")?.as_deref() {
        None | Some("NOTSET" | "") => pads,
        Some(_) if pads != PoolPadding::NONE => {
            return Err(misfit("pads: expected none besides auto_pad, got some".into()));
        }
        Some("VALID") => PoolPadding::NONE,
        Some("SAME_UPPER") => PoolPadding::Same,
        Some("SAME_LOWER") => PoolPadding::SameStart,
        Some(other) => {
            return Err(misfit(format!("auto_pad: expected NOTSET, VALID, SAME_UPPER or SAME_LOWER, got {other:?}")));
        }
    };
    // ONNX Runtime computes another padding than the specification there.
    let fills = matches!(pool.padding, PoolPadding::Around { .. }) || pool.dilation == 1 && size >= pool.stride;
    if !fills {
        return Err(misfit(
            "auto_pad: expected windows without gaps (dilations 1, strides at most kernel_shape), got others; give pads".into(),
        ));
    }
    // The model checks the sizes once more, but windows are counted before that.
    if size == 0 || pool.stride == 0 || pool.dilation == 0 {
        return Err(misfit("kernel_shape, strides, dilations: expected numbers above 0, got 0".into()));
    }
    Ok(pool)
}

/// Returns how many windows `pool` has along `time` steps, if that is known before a call.
fn count(pool: &WindowPool, time: &Size) -> Result<Option<Size>> {
    if let Some(steps) = time.value().and_then(|n| usize::try_from(n).ok()) {
        return match pool.windows(steps).count {
            0 => Err(misfit(format!("expected a window that fits into {steps} steps, got one of {}", pool.size))),
            count => Ok(Some(Size::len(count))),
        };
    }
    // With a stride of 1, the number of windows is that of steps, but for a constant. Any long sequence tells it.
    const LONG: usize = 1 << 30;
    let more = i64::try_from(pool.windows(LONG).count).ok().map(|count| count.saturating_sub(1 << 30));
    Ok(more.filter(|_| pool.stride == 1).and_then(|more| time.plus(&Size::of(more))))
}
