//! Recurrent layers → stacks of the model: of one direction or two, of one cell or several.
//!
//! Several cells are stacks one over the other, and so are the directions of a `Bidirectional` layer that one stack
//! cannot have. Knows no key of a cell.

use serde_json::Value;

use super::activations::Version;
use super::builder::{Builder, Stack};
use super::cells::CellPlace;
use super::config::{Config, short, wrong};
use super::masks::Mask;
use super::recurrent::{CellVariables, Sequences, Settings, States, pair};
use super::values::{Flow, Known, Source, unlike};
use super::variables::VariablePath;
use crate::error::Result;
use crate::model::{Bias, Direction, Join, Merge, Padding, Pin, Recurrent, Value as Edge};
use crate::weights::dialect::Way;

impl Builder {
    /// Checks what all recurrent layers have in common.
    fn check_recurrent(&mut self, config: &Config, settings: &Settings) -> Result<()> {
        let (order, said_by) = self.order.get_or_insert_with(|| (settings.order, config.place()));
        if *order != settings.order {
            return Err(wrong(format!(
                "time_major: expected the same in all recurrent layers, got another than in {said_by}"
            )));
        }
        Ok(())
    }

    /// Applies the mask to a recurrent layer, and returns whether there is one.
    fn lay_over(&mut self, initial: &[Known], told: bool) -> Result<bool> {
        // Keras 3 applies no mask to a layer that is called with
        // states, unless the call has one. It still passes the mask on.
        let aside = !initial.is_empty() && self.version == Version::Three && !told;
        let mask = if aside { Mask::None } else { self.now.mask.clone() };
        self.lay(&mask)?;
        // A layer under the mask does not see the masked steps.
        match self.now.unlike.take() {
            Some(layer) if mask == Mask::None => Err(unlike(&layer)),
            _ => Ok(mask != Mask::None),
        }
    }

    pub(super) fn recurrent(
        &mut self,
        config: &mut Config,
        place: &VariablePath,
        initial: &[Known],
        told: bool,
    ) -> Result<Vec<Known>> {
        let settings = Settings::of(config, self.version, false)?;
        self.check_recurrent(config, &settings)?;
        self.steps()?;
        let masked = self.lay_over(initial, told)?;
        settings.check_unroll(masked)?;
        let [cells] = CellPlace::of([&settings.cells]);
        self.one_way(&settings, place, &cells, None, initial)
    }

    /// Adds the cells of one direction, each over the one before it. Returns the output of the last one, and the
    /// final states of all if they are wanted. `side` is in the names of the tensors.
    fn one_way(
        &mut self,
        settings: &Settings,
        place: &VariablePath,
        cells: &[CellPlace],
        side: Option<&str>,
        initial: &[Known],
    ) -> Result<Vec<Known>> {
        let counts: Vec<usize> = settings.cells.iter().map(|cell| cell.cell.states()).collect();
        let begins = shares(initial, &counts).map_err(|e| e.at("initial_state"))?;
        let several = settings.cells.len() > 1;
        let mut states = Vec::new();
        for (index, ((cell, at), begin)) in settings.cells.iter().zip(cells).zip(begins).enumerate() {
            let own = settings.of_cell(index);
            let mut name = place.clone();
            name.names.extend(side.map(str::to_owned));
            name.names.extend(several.then(|| index.to_string()));
            let (prefix, (_, features)) = (self.prefix(&name)?, self.steps()?);
            let variables = CellVariables::of(cell, features, &mut self.variables, place, at)?;
            let stack = own.stack(cell, variables.input_size());
            let way = if own.direction == Direction::Forward { Way::Forward } else { Way::Reverse };
            variables.insert(&stack, &format!("{prefix}."), way, &mut self.tensors);
            let around = std::mem::replace(&mut self.label, prefix.clone());
            let gives = self.stack(&prefix, stack, &own, begin, false)?;
            self.label = around;
            let mut gives = gives.into_iter();
            self.now = gives.next().ok_or_else(|| wrong("expected an output, got none".into()))?;
            states.extend(gives);
        }
        Ok([self.now.clone()].into_iter().chain(states).collect())
    }

    /// Adds a stack whose tensors begin with `prefix`. Returns its outputs, and its final
    /// states if they are wanted: all of one direction before the other's.
    fn stack(
        &mut self,
        prefix: &str,
        stack: Recurrent,
        settings: &Settings,
        initial: &[Known],
        apart: bool,
    ) -> Result<Vec<Known>> {
        let (hidden, directions, width) = (stack.hidden_size, stack.directions(), stack.output().len());
        let (time, _) = self.steps()?;
        self.now.flow = Flow::Steps { time, features: Some(stack.input_size), bare: false };
        let begins = self.begin(&stack, initial).map_err(|e| e.at("initial_state"))?;
        let from = vec![self.edge(&self.now.clone())?];
        let (direction, states) = (stack.direction, stack.cell.states());
        let Edge::Layer(layer, _) = self.add(prefix, stack, from, begins) else { return Ok(Vec::new()) };
        self.stacks.push(Stack { layer, direction });
        let parts = if apart { directions } else { 1 };
        let one = |part: usize| {
            let features = width / parts;
            let source = |pin| Source::part(Edge::Layer(layer, pin), part * features, features, width);
            if settings.sequences == Sequences::Last {
                return Known::rows(source(Pin::LastOutput), features, &self.place);
            }
            let flow = Flow::Steps { time, features: Some(features), bare: false };
            Known { flow, source: source(Pin::Output), from: self.place.clone(), ..self.now.clone() }
        };
        let mut gives: Vec<Known> = (0..parts).map(one).collect();
        if settings.states == States::Given {
            let pins = [Pin::FinalHidden, Pin::FinalCell].into_iter().take(states);
            let state = |direction: usize, pin| {
                let source = Source::part(Edge::Layer(layer, pin), direction * hidden, hidden, directions * hidden);
                Known::rows(source, hidden, &self.place)
            };
            gives.extend(
                (0..directions)
                    .flat_map(|direction| pins.clone().map(move |pin| (direction, pin)))
                    .map(|(d, pin)| state(d, pin)),
            );
        }
        Ok(gives)
    }

    pub(super) fn bidirectional(
        &mut self,
        config: &mut Config,
        place: &VariablePath,
        initial: &[Known],
        told: bool,
    ) -> Result<Vec<Known>> {
        let layer = config.take("layer").ok_or_else(|| wrong("layer: expected a layer, got nothing".into()))?;
        let frozen = !config.flag("trainable", true)?;
        let of = |value: &Value, key: &str| -> Result<Settings> {
            let mut inner = Config::of(value)?;
            let settings = wrapped(&mut inner, self.version, frozen);
            settings.and_then(|settings| inner.finish().map(|()| settings)).map_err(|e| e.at(key))
        };
        let forward = of(&layer, "layer")?;
        let backward = match config.take("backward_layer") {
            Some(value) => of(&value, "backward_layer")?,
            None => Settings { direction: Direction::Backwards, ..forward.clone() },
        };
        let cells = pair(&forward, &backward)?;
        let mode = config.take_even_null("merge_mode").unwrap_or_else(|| "concat".into());
        let (merge, apart) = merged(&mode)?;
        self.check_recurrent(config, &forward)?;
        let (_, features) = self.steps()?;
        let masked = self.lay_over(initial, told)?;
        backward.check_unroll(masked)?;
        let places = CellPlace::of([&forward.cells, &backward.cells]);
        let Some((f, b)) = cells else {
            return self.two_ways([&forward, &backward], place, &places, initial, (!apart).then_some(merge));
        };
        let one = CellVariables::of(f, features, &mut self.variables, place, &places[0][0])?;
        let other = CellVariables::of(b, Some(one.input_size()), &mut self.variables, place, &places[1][0])?;
        let mut stack = forward.stack(f, one.input_size()).merge(merge).bidirectional();
        stack.functions[1] = b.functions;
        let most = |of: usize| f.dropouts[of].max(b.dropouts[of]);
        // A stack has one rate for both directions, each of which draws its own elements.
        (stack.input_dropout, stack.recurrent_dropout) = (most(0).into(), most(1).into());
        if f.bias == Bias::None {
            stack.bias = b.bias;
        }
        let prefix = self.prefix(place)?;
        one.insert(&stack, &format!("{prefix}."), Way::Forward, &mut self.tensors);
        other.insert(&stack, &format!("{prefix}."), Way::Reverse, &mut self.tensors);
        self.stack(&prefix, stack, &forward, initial, apart)
    }

    /// Adds two directions that one stack cannot have: of several cells, or of cells that differ.
    fn two_ways(
        &mut self,
        [forward, backward]: [&Settings; 2],
        place: &VariablePath,
        places: &[Vec<CellPlace>; 2],
        initial: &[Known],
        merge: Option<Merge>,
    ) -> Result<Vec<Known>> {
        let counts = [forward.state_count(), backward.state_count()];
        let begins = shares(initial, &counts).map_err(|e| e.at("initial_state"))?;
        // The outputs of both are of one step, so those of every step are in the order of the input.
        let direction = match backward.sequences {
            Sequences::Every => Direction::Reverse,
            Sequences::Last => backward.direction,
        };
        let backward = Settings { direction, ..backward.clone() };
        let input = self.now.clone();
        let mut one = self.one_way(forward, place, &places[0], Some("forward"), begins[0])?.into_iter();
        self.now = input;
        let mut other = self.one_way(&backward, place, &places[1], Some("backward"), begins[1])?.into_iter();
        let outputs: Vec<Known> = one.next().into_iter().chain(other.next()).collect();
        let mut gives = match merge {
            None => outputs,
            Some(merge) => {
                let mask = outputs[0].mask.clone();
                let join = match merge {
                    Merge::Concat => Join::Concat,
                    Merge::Sum => Join::Add,
                    Merge::Average => Join::Average,
                    Merge::Product => Join::Multiply,
                };
                vec![Known { mask, ..self.join(join, outputs)? }]
            }
        };
        gives.extend(one.chain(other));
        Ok(gives)
    }
}

/// Returns the parts of `initial`, which has `counts` states in all. There may be none at all.
fn shares<'a>(mut initial: &'a [Known], counts: &[usize]) -> Result<Vec<&'a [Known]>> {
    let (all, got) = (counts.iter().sum::<usize>(), initial.len());
    if got != all && got > 0 {
        return Err(wrong(format!("expected {all} tensors (states of each cell and direction), got {got}")));
    }
    let share = |&count: &usize| {
        let (share, rest) = initial.split_at(count.min(initial.len()));
        initial = rest;
        share
    };
    Ok(counts.iter().map(share).collect())
}

/// Reads a layer inside a Bidirectional, which decides what a dead step gives.
fn wrapped(config: &mut Config, version: Version, frozen: bool) -> Result<Settings> {
    config.dtype()?;
    drop(config.take("batch_input_shape"));
    let mut settings = Settings::of(config, version, frozen)?;
    settings.padding = if settings.sequences == Sequences::Every { Padding::Zero } else { Padding::Held };
    Ok(settings)
}

/// Returns how outputs are merged, and whether they stay separate.
fn merged(mode: &Value) -> Result<(Merge, bool)> {
    match mode {
        Value::Null => Ok((Merge::Concat, true)),
        mode => match mode.as_str() {
            Some("concat") => Ok((Merge::Concat, false)),
            Some("sum") => Ok((Merge::Sum, false)),
            Some("ave") => Ok((Merge::Average, false)),
            Some("mul") => Ok((Merge::Product, false)),
            _ => Err(wrong(format!("merge_mode: expected concat, sum, ave, mul or null, got {}", short(mode)))),
        },
    }
}

impl Settings {
    /// Refuses an unrolled layer for which Keras zeroes the wrong steps under a mask.
    fn check_unroll(&self, masked: bool) -> Result<()> {
        let zeros = self.padding == Padding::Zero && self.sequences == Sequences::Every;
        if self.unrolled && masked && zeros && self.direction != Direction::Forward {
            return Err(wrong(
                "unroll: expected false with go_backwards and zeros under a mask; Keras mixes up the steps".into(),
            ));
        }
        Ok(())
    }
}
