//! Gradients become new weights: `squares`, `total`, `update` and `tie` against their descriptions.

use super::*;
use crate::kernel::{NO_ROLE, Training, padded};
use crate::rule::{Method, Rule, Scalars};

fn n(n: usize) -> u32 {
    u32::try_from(n).unwrap()
}

/// The numbers of two roles, all different.
fn scalars(clip_norm: f32) -> [Scalars; 2] {
    let first = Scalars {
        penalty: 0.1,
        clip_norm,
        clip_slack: 0.01,
        clip_value: 0.4,
        coupled: 0.03,
        decoupled: 0.002,
        mean: 0.1,
        square: 0.2,
        root: 1.5,
        inside: 0.01,
        epsilon: 0.02,
        momentum: 0.9,
        into: 0.7,
        direct: 0.05,
        through: 0.04,
        reserved: 0.0,
    };
    [first, Scalars { penalty: 0.0, coupled: 0.0, decoupled: 0.01, direct: 0.1, through: 0.02, ..first }]
}

/// Panels that an update covers: their rows, elements of a row, and the class of each element.
struct Place {
    params: Params,
    elements: usize,
}

impl Place {
    /// Returns `panels` panels of `depth` rows, the bias and `extra`
    /// rows of peepholes, with `gates` gates, from panel 1 on.
    fn matrix([panels, depth, extra, gates]: [usize; 4], roles: [u32; 3]) -> Self {
        let (rows, width) = (depth + 1 + extra, gates * LANES);
        let params = Params {
            rows: n(panels * rows),
            units: n(width),
            depth: n(depth),
            count: n(rows),
            source_0: n(rows),
            gates_0: roles[0],
            gates_1: roles[1],
            live_0: roles[2],
            time_step_0: 1,
            time_step_1: 2,
            live_1: 0,
            ..Params::default()
        };
        Self { params, elements: (panels + 1) * rows * width }
    }

    fn table(rows: usize, width: usize) -> Self {
        let params = Params {
            rows: n(rows),
            units: n(width),
            depth: u32::MAX,
            count: u32::MAX,
            source_0: 3,
            gates_0: 1,
            gates_1: NO_ROLE,
            live_0: NO_ROLE,
            ..Params::default()
        };
        Self { params, elements: (rows + 3) * width }
    }

    fn first(&self) -> usize {
        (self.params.source_0 * self.params.units) as usize
    }

    /// Returns the role of an element, counted from the first, and the place of its norm.
    fn of(&self, i: usize) -> Option<(usize, usize)> {
        let p = &self.params;
        let row = (p.source_0 + n(i) / p.units) % p.count;
        let (role, norm) = match row {
            row if row < p.depth => (p.gates_0, p.time_step_0),
            row if row == p.depth => (p.gates_1, p.time_step_1),
            _ => (p.live_0, p.live_1),
        };
        (role != NO_ROLE).then_some((role as usize, norm as usize))
    }
}

fn places() -> Vec<Place> {
    vec![
        Place::matrix([3, 16, 1, 4], [0, 1, 1]),
        Place::matrix([1, 48, 0, 3], [1, NO_ROLE, NO_ROLE]),
        Place::matrix([2, 64, 1, 4], [1, 0, NO_ROLE]),
        Place::table(7, 32),
        Place::table(90, 48),
    ]
}

#[test]
fn squares_are_added_up_by_parts() {
    for (place, steps) in places().into_iter().zip([40, 1000, 700, 9, 512]) {
        let params = Params { steps, target_0: 2, ..place.params };
        let elements = (params.rows * params.units) as usize;
        let groups = elements.div_ceil(4 * steps as usize);
        let bound = vec![
            ("source", Data::Floats(noise(1, place.elements))),
            ("delta", Data::Floats(noise(2, place.elements))),
            ("scalars", Data::Floats(bytemuck::cast_slice(&scalars(1.0)).to_vec())),
            ("result", Data::Floats(noise(3, groups + 4))),
        ];
        let case = Case { program: Program::Training(Training::Squares), params, sides: 1, bound };
        let square = |i: usize| {
            place.of(i).map_or(0.0, |(role, _)| {
                let (w, g) = (case.float("source", place.first() + i), case.float("delta", place.first() + i));
                (g + f64::from(scalars(1.0)[role].penalty) * w).powi(2)
            })
        };
        let each = 4 * steps as usize;
        let sum = |group: usize| (group * each..((group + 1) * each).min(elements)).map(square).sum::<f64>();
        case.check(&(0..groups).map(|group| ("result", 2 + group, sum(group))).collect::<Vec<_>>());
    }
}

#[test]
fn a_total_is_set_or_added_to() {
    for (count, first, scale) in [(1, true, 1.0_f32), (63, false, 0.5), (1000, true, -2.0), (0, true, 1.0)] {
        let params = Params { source_0: 3, count, target_0: 1, scale: scale.to_bits(), ..Params::default() };
        let source = noise(1, count as usize + 5).into_iter().map(|x| x / 8.0).collect();
        let bound = vec![("source", Data::Floats(source)), ("result", Data::Floats(vec![0.25, 0.5, 0.75]))];
        let case = Case { program: Program::Training(Training::Total { first }), params, sides: 1, bound };
        let sum = (0..count as usize).map(|i| case.float("source", 3 + i)).sum::<f64>();
        let before = if first { 0.0 } else { 0.5 };
        case.check(&[("result", 1, before + f64::from(scale) * sum)]);
    }
}

#[test]
fn a_total_of_no_numbers_at_all_shows() {
    for bad in [f32::NAN, f32::INFINITY] {
        let params = Params { source_0: 1, count: 3, scale: 0.0_f32.to_bits(), ..Params::default() };
        let bound = vec![("source", Data::Floats(vec![0.0, 1.0, bad, 2.0])), ("result", Data::Floats(vec![0.0]))];
        let case = Case { program: Program::Training(Training::Total { first: true }), params, sides: 1, bound };
        case.check(&[("result", 0, f64::NAN)]);
    }
}

/// Returns a weight after an update, and its moments.
fn updated(rule: Rule, s: &Scalars, square: f64, [w, g]: [f64; 2], kept: &[f64]) -> (f64, Vec<f64>) {
    let of = |x: f32| f64::from(x);
    let mut g = g + of(s.penalty) * w;
    if rule.clips_value {
        g = g.clamp(-of(s.clip_value), of(s.clip_value));
    }
    if s.clip_norm > 0.0 {
        g *= of(s.clip_norm) / (square.sqrt() + of(s.clip_slack)).max(of(s.clip_norm));
    }
    g += of(s.coupled) * w;
    let mean = |m: f64, part: f32, x: f64| (1.0 - of(part)) * m + of(part) * x;
    let mut after = kept.to_vec();
    let d = match rule.method {
        Method::Gradient => g,
        Method::RmsProp { centered } => {
            after[0] = mean(kept[0], s.square, g * g);
            let mut variance = after[0];
            if centered {
                after[1] = mean(kept[1], s.mean, g);
                variance = (variance - after[1] * after[1]).max(0.0);
            }
            g / ((variance + of(s.inside)).sqrt() + of(s.epsilon))
        }
        Method::Adam { amsgrad } => {
            after[0] = mean(kept[0], s.mean, g);
            after[1] = mean(kept[1], s.square, g * g);
            let mut square = after[1];
            if amsgrad {
                after[2] = kept[2].max(square);
                square = after[2];
            }
            after[0] / (square.sqrt() * of(s.root) + of(s.epsilon))
        }
    };
    let mut moved = w - of(s.decoupled) * w - of(s.direct) * d;
    if rule.momentum {
        let b = after.last_mut().unwrap();
        *b = of(s.momentum) * *b + of(s.into) * d;
        moved -= of(s.through) * *b;
    }
    (moved, after)
}

fn rules() -> Vec<Rule> {
    let methods = [Method::Gradient, Method::RmsProp { centered: false }, Method::RmsProp { centered: true }];
    let mut rules: Vec<Rule> = methods
        .into_iter()
        .flat_map(|method| [false, true].map(|momentum| Rule { method, momentum, clips_value: momentum }))
        .collect();
    rules.extend([false, true].map(|amsgrad| Rule {
        method: Method::Adam { amsgrad },
        momentum: false,
        clips_value: amsgrad,
    }));
    rules
}

/// Returns an update at `place`, with the squares of norms `norms`.
fn update(rule: Rule, place: &Place, clip_norm: f32, norms: [f32; 3]) -> Case {
    let groups = (place.params.rows * place.params.units).div_ceil(256);
    // Two rows of workgroups, and the last row is not full.
    let params = Params { steps: groups.div_ceil(2), ..place.params };
    let names = ["moment", "second_moment", "third_moment"];
    let kept = names.into_iter().zip(rule.moments()).zip(4..);
    let mut bound = vec![
        ("delta", Data::Floats(noise(1, place.elements))),
        ("scalars", Data::Floats(bytemuck::cast_slice(&scalars(clip_norm)).to_vec())),
        ("norms", Data::Floats(norms.to_vec())),
        ("result", Data::Floats(noise(2, place.elements))),
    ];
    bound.extend(kept.map(|((name, _), seed)| {
        // A mean of squares is never less than the square of a mean.
        let kept = noise(seed, place.elements).into_iter().map(|x| 0.1 + 0.05 * x);
        (name, Data::Floats(kept.collect()))
    }));
    Case { program: Program::Training(Training::Update(rule)), params, sides: 1, bound }
}

#[test]
fn weights_move_as_each_rule_says() {
    for (place, rule) in places().iter().flat_map(|place| rules().into_iter().map(move |rule| (place, rule))) {
        for clip_norm in [0.0, 0.8] {
            let norms = [3.5, 0.3, 7.0];
            let case = update(rule, place, clip_norm, norms);
            let names: Vec<&str> = case.bound[4..].iter().map(|bound| bound.0).collect();
            let mut expected = Vec::new();
            for i in 0..(case.params.rows * case.params.units) as usize {
                let Some((role, norm)) = place.of(i) else { continue };
                let at = place.first() + i;
                let kept: Vec<f64> = names.iter().map(|name| case.float(name, at)).collect();
                let s = scalars(clip_norm)[role];
                let own = [case.float("result", at), case.float("delta", at)];
                let (w, kept) = updated(rule, &s, norms[norm].into(), own, &kept);
                expected.push(("result", at, w));
                expected.extend(names.iter().zip(kept).map(|(&name, value)| (name, at, value)));
            }
            case.check(&expected);
        }
    }
}

#[test]
fn nothing_moves_where_the_norm_is_no_number() {
    for norm in [f32::NAN, f32::INFINITY] {
        for rule in rules() {
            let case = update(rule, &Place::matrix([2, 16, 0, 4], [0, 1, NO_ROLE]), 0.8, [norm, 1.0, 1.0]);
            let same = case.float("result", 0);
            case.check(&[("result", 0, same)]);
        }
    }
}

#[test]
fn a_tensor_of_two_layouts_becomes_one() {
    // A table of vectors, and a linear layer's matrix with as many units: more columns than a panel is wide, in parts.
    let (rows, columns, part) = (37, 22, 11);
    let (width, deep) = (32, 2 * padded(part));
    let panel = (deep + 1) * LANES;
    let table = |row: usize, column: usize| 64 + row * width + column;
    let matrix = |row: usize, column: usize| {
        16 + row / LANES * panel + (column / part * padded(part) + column % part) * LANES + row % LANES
    };
    // The gates of a cell as well.
    let gates = |row: usize, column: usize| {
        let (gate, unit) = (row / 18, row % 18);
        5 + unit / LANES * (3 * 2 * LANES) + (column * 2 + gate) * LANES + unit % LANES
    };
    let of_table = [64, 0, 1, width, 1].map(n);
    let of_matrix = [16, panel, 1, rows, part].map(n);
    let of_gates = [5, 3 * 2 * LANES, 2, 18, 2].map(n);
    let elements = [64 + rows * width, 16 + 3 * panel, 5 + 2 * 3 * 2 * LANES];
    for (first, offset) in [(false, 0), (true, 0), (false, 4)] {
        for (from, to, [rows, columns], places) in [
            (of_table, of_matrix, [rows, columns], [0, 1]),
            (of_matrix, of_table, [rows, columns], [1, 0]),
            (of_gates, of_table, [36, 2], [2, 0]),
        ] {
            let params = Params {
                rows: n(rows) - offset,
                offset,
                features: n(columns),
                source_0: from[0],
                source_1: from[1],
                gates_0: from[2],
                source_units: from[3],
                source_features: from[4],
                target_0: to[0],
                target_1: to[1],
                gates_1: to[2],
                units: to[3],
                source_directions: to[4],
                ..Params::default()
            };
            let bound = vec![
                ("source", Data::Floats(noise(1, elements[places[0]]))),
                ("result", Data::Floats(noise(2, elements[places[1]]))),
            ];
            let case = Case { program: Program::Training(Training::Tie { first }), params, sides: 1, bound };
            let place = |at: usize, row: usize, column: usize| match at {
                0 => table(row, column),
                1 => matrix(row, column),
                _ => gates(row, column),
            };
            let mut expected = Vec::new();
            for (row, column) in (offset as usize..rows).flat_map(|row| (0..columns).map(move |c| (row, c))) {
                let to = place(places[1], row, column);
                let before = if first { 0.0 } else { case.float("result", to) };
                expected.push(("result", to, before + case.float("source", place(places[0], row, column))));
            }
            case.check(&expected);
        }
    }
}
