//! `squares`, `total`, `update` and `tie`: gradients become new weights.
//!
//! Sums are cut like a GPU's workgroups cut them, and the update of
//! an element depends on no other element. So threads share both.

use std::ops::Range;

use pulp::Arch;

use crate::cpu::buffers::{Bound, View};
use crate::cpu::threads;
use crate::kernel::{NO_ROLE, Params, Role, padded};
use crate::platform::parallel::{self, *};
use crate::rule::{self, Rule, Scalars};

/// The fewest elements that are worth another thread's turn.
const SHARED: usize = 1 << 15;

/// Returns how long one thread takes for a dispatch over `buffers` buffers of the dispatch's elements.
pub(super) fn ns(p: &Params, buffers: usize) -> usize {
    threads::copy_ns(p.rows as usize * p.units as usize * buffers)
}

/// The rows of a packed buffer that an update covers, and the class of each.
#[derive(Clone, Copy)]
struct Rows {
    /// Elements of a row.
    width: usize,
    depth: usize,
    /// Rows of a panel.
    count: usize,
    roles: [u32; 3],
    norms: [u32; 3],
}

impl Rows {
    fn of(p: &Params) -> Self {
        Self {
            width: p.units as usize,
            depth: p.depth as usize,
            count: p.count as usize,
            roles: [p.gates_0, p.gates_1, p.live_0],
            norms: [p.time_step_0, p.time_step_1, p.live_1],
        }
    }

    /// Calls `each` for stretches of elements `all` with one class each. Elements count from the start of a panel.
    fn each(&self, all: Range<usize>, mut each: impl FnMut(Range<usize>, usize)) {
        let mut at = all.start;
        while at < all.end {
            let (row, first) = (at / self.width % self.count, at - at % (self.width * self.count));
            let (class, after) = match row {
                row if row < self.depth => (0, self.depth),
                row if row == self.depth => (1, self.depth + 1),
                _ => (2, self.count),
            };
            let end = (first + after * self.width).min(all.end);
            each(at..end, class);
            at = end;
        }
    }
}

fn scalars<'a>(view: View<'a>, rows: &Rows, class: usize) -> Option<&'a Scalars> {
    let role = rows.roles[class];
    let all: &[Scalars] = bytemuck::cast_slice(view.floats(Role::Scalars));
    (role != NO_ROLE).then(|| &all[role as usize])
}

/// Adds up the squares of gradients: each sum in order, in 64 bits.
pub(super) fn squares(arch: Arch, bound: &mut Bound<'_>) {
    let (p, rows) = (*bound.params, Rows::of(bound.params));
    let (first, all) = (p.source_0 as usize * rows.width, p.rows as usize * rows.width);
    let each = 4 * p.steps as usize;
    bound.write(Role::Result, |bound, result| {
        let view = bound.view();
        let (w, g) = (&view.floats(Role::Source)[first..], &view.floats(Role::Delta)[first..]);
        let one = |(group, sum): (usize, &mut f32)| {
            let mut total = 0.0;
            rows.each(group * each..((group + 1) * each).min(all), |part, class| {
                if let Some(s) = scalars(view, &rows, class) {
                    total += arch.dispatch(|| rule::squares(s, &w[part.clone()], &g[part]));
                }
            });
            #[expect(clippy::cast_possible_truncation, reason = "rounded once")]
            let rounded = total as f32;
            *sum = rounded;
        };
        let sums = &mut result[p.target_0 as usize..][..all.div_ceil(each)];
        if threads::worth(ns(&p, 2)) == 1 {
            sums.iter_mut().enumerate().for_each(one);
        } else {
            sums.par_iter_mut().enumerate().for_each(one);
        }
    });
}

/// Adds up numbers in order, in 64 bits.
pub(super) fn total(bound: &mut Bound<'_>, first: bool) {
    let p = *bound.params;
    bound.write(Role::Result, |bound, result| {
        let source = &bound.floats(Role::Source)[p.source_0 as usize..][..p.count as usize];
        let sum = f64::from(f32::from_bits(p.scale)) * source.iter().map(|&x| f64::from(x)).sum::<f64>();
        let target = &mut result[p.target_0 as usize];
        #[expect(clippy::cast_possible_truncation, reason = "rounded once")]
        let rounded = (if first { 0.0 } else { f64::from(*target) } + sum) as f32;
        *target = rounded;
    });
}

/// Weights and their moments, element by element.
struct Elements<'a> {
    /// The first element, counted from the start of a panel.
    first: usize,
    w: &'a mut [f32],
    g: &'a [f32],
    /// Empty if the rule keeps none.
    moments: [&'a mut [f32]; 3],
}

impl<'a> Elements<'a> {
    fn split(self, at: usize) -> (Self, Self) {
        let Self { first, w, g, moments } = self;
        let ((w, w_after), (g, g_after)) = (w.split_at_mut(at), g.split_at(at));
        let [a, b, c] = moments.map(|moment| {
            let len = moment.len();
            moment.split_at_mut(at.min(len))
        });
        let before = Self { first, w, g, moments: [a.0, b.0, c.0] };
        (before, Self { first: first + at, w: w_after, g: g_after, moments: [a.1, b.1, c.1] })
    }
}

/// Replaces weights by new ones.
pub(super) fn update(arch: Arch, bound: &mut Bound<'_>, rule: Rule) {
    let (p, rows) = (*bound.params, Rows::of(bound.params));
    let (first, all) = (p.source_0 as usize * rows.width, p.rows as usize * rows.width);
    let threads = threads::worth(ns(&p, 2 + rule.moments().len()));
    let written = [Role::Result, Role::Moment, Role::SecondMoment, Role::ThirdMoment];
    bound.write_each(written, |bound, [w, moments @ ..]| {
        let view = bound.view();
        let norms = view.floats(Role::Norms);
        if !norms[0].is_finite() {
            return;
        }
        let moments = moments.map(|moment| if moment.is_empty() { moment } else { &mut moment[first..][..all] });
        let g = &view.floats(Role::Delta)[first..][..all];
        let elements = Elements { first: 0, w: &mut w[first..][..all], g, moments };
        let one = |elements: Elements<'_>| {
            let Elements { first, w, g, moments } = elements;
            let [mut a, mut b, mut c] = moments;
            rows.each(first..first + w.len(), |part, class| {
                let Some(s) = scalars(view, &rows, class) else { return };
                let part = part.start - first..part.end - first;
                let factor = rule::clip_factor(s, norms[rows.norms[class] as usize]);
                let (w, g) = (&mut w[part.clone()], &g[part.clone()]);
                let mut kept = [&mut a, &mut b, &mut c].map(|m| m.get_mut(part.clone()).unwrap_or_default());
                let kept = &mut kept[..rule.moments().len()];
                arch.dispatch(|| rule::update(rule, s, factor, w, g, kept));
            });
        };
        share(elements, if threads == 1 { usize::MAX } else { SHARED }, &one);
    });
}

/// Calls `one` with parts of `elements` of at most `most`, on all threads.
fn share(elements: Elements<'_>, most: usize, one: &(impl Fn(Elements<'_>) + Sync)) {
    let len = elements.w.len();
    if len <= most {
        return one(elements);
    }
    let (before, after) = elements.split(len / 2);
    parallel::join(|| share(before, most, one), || share(after, most, one));
}

/// The place of a tensor in a packed buffer: see `TIE`.
struct Layout {
    first: usize,
    panel: usize,
    gates: usize,
    units: usize,
    features: usize,
}

impl Layout {
    fn of(words: [u32; 5]) -> Self {
        let [first, panel, gates, units, features] = words.map(|word| word as usize);
        Self { first, panel, gates, units, features }
    }

    /// Returns the place of the element in row `n` and column `c`.
    fn place(&self, n: usize, c: usize) -> usize {
        let Self { first, panel, gates, units, features } = *self;
        if panel == 0 {
            return first + n * units + c;
        }
        let (gate, unit) = (n / units, n % units);
        let k = c / features * padded(features) + c % features;
        first + unit / 16 * panel + (k * gates + gate) * 16 + unit % 16
    }
}

/// Adds or copies one tensor between two packed buffers.
pub(super) fn tie(bound: &mut Bound<'_>, set: bool) {
    let p = *bound.params;
    let read = Layout::of([p.source_0, p.source_1, p.gates_0, p.source_units, p.source_features]);
    let written = Layout::of([p.target_0, p.target_1, p.gates_1, p.units, p.source_directions]);
    bound.write(Role::Result, |bound, result| {
        let source = bound.floats(Role::Source);
        for n in p.offset as usize..(p.offset + p.rows) as usize {
            for c in 0..p.features as usize {
                let (from, to) = (source[read.place(n, c)], &mut result[written.place(n, c)]);
                *to = if set { from } else { *to + from };
            }
        }
    });
}
