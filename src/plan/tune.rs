//! Choosing: how a product is cut over invocations, how much scratch a call may take. Opinions
//! about devices stand in files of this name alone, here the plan's; every number has its reason beside it.

use super::{Limits, Strategy};
use crate::kernel::{Loads, Medium, Tile};

/// What a plan is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// The CPU executor.
    Host,
    /// A GPU that is a CPU: lavapipe, `SwiftShader`, WARP.
    Software,
    /// A GPU.
    Gpu,
}

/// The sizes of a product.
#[derive(Clone, Copy, Debug)]
pub struct Product {
    /// Rows of the source.
    pub rows: usize,
    /// K, padded.
    pub depth: usize,
    /// Panels of 16 units, over all directions.
    pub panels: usize,
    /// Gates.
    pub gates: usize,
}

/// The sizes of a run of layers, or of a layer by itself.
#[derive(Clone, Copy, Debug)]
pub struct Wave {
    /// L, the layers.
    pub layers: usize,
    /// T, the timesteps of the call.
    pub time: usize,
    /// The recurrent product of one of them.
    pub product: Product,
}

/// Multiplications of a step that take a large GPU a few launches of some 5 µs: where one layer has more of them, the
/// launches that several layers share are no great part of the time.
const LAUNCHES: usize = 64 << 20;

/// Weights of a layer's recurrent product up to which a workgroup by itself goes through time faster than launches do; on a
/// software GPU multiplications of a step, whose rows have no workgroups to spare: see [`Tuning::strategy`].
const SCANNED: usize = 16 << 10;

/// The same on a software GPU of wide subgroups, and the most multiplications of a step there.
const SCANNED_WIDE: [usize; 2] = [144 << 10, 288 << 10];

/// Units of a layer up to which a software GPU trains it by scans, and those of all rows: see [`Tuning::for_training`].
const TRAINED_UNITS: usize = 64;
const TRAINED_BATCH: usize = 512;

/// Weights that an invocation of a scan holds, in fours: half the registers of a GPU's invocation, and what lavapipe
/// compiles in a second or two, since it keeps them in memory, where vectors of lanes lie side by side.
const HELD_GPU: usize = 32;
const HELD_SOFTWARE: usize = 64;

/// Elements of a call that one thread of the host lays out as fast as several: fewer, and waking others costs more than
/// they save.
pub(crate) const PARALLEL_ELEMS: usize = 1 << 16;

/// Elements whose squares a workgroup adds up, of an update.
pub(crate) const SQUARED: usize = 1 << 15;

/// The choices for a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    target: Target,
    /// Whether the call has its way back.
    trains: bool,
    strategy: Option<Strategy>,
    chunk_bytes: Option<u64>,
    keep_bytes: Option<u64>,
}

impl From<Target> for Tuning {
    fn from(target: Target) -> Self {
        Self::of(target)
    }
}

impl Tuning {
    /// The choices for `target`.
    pub fn of(target: Target) -> Self {
        Self { target, trains: false, strategy: None, chunk_bytes: None, keep_bytes: None }
    }

    /// What the choices are for.
    pub fn target(&self) -> Target {
        self.target
    }

    /// The same choices but for the strategy, where one is given: it is taken wherever it can be.
    #[must_use]
    pub fn with_strategy(self, strategy: Option<Strategy>) -> Self {
        Self { strategy, ..self }
    }

    /// The same choices but for the bytes of a chunk, where they are given.
    #[must_use]
    pub fn with_chunk_bytes(self, chunk_bytes: Option<u64>) -> Self {
        Self { chunk_bytes, ..self }
    }

    /// The same choices for a call with its way back.
    ///
    /// Each chunk costs a product more there, of the gradient that it hands to the one before it, and reads and writes the
    /// gradients of all matrices. On a host chunks of 32 MiB were faster than those of 4 by a tenth (LSTM of 512 units, batch 64).
    ///
    /// The way back of a scan reads as many weights, and has no room to hold them. On a software GPU forward and back by scans took
    /// 0.24 to 0.97 of the time by steps up to [`TRAINED_UNITS`] and [`TRAINED_BATCH`], and 1.03 to 2.7 times as long beyond
    /// them (lavapipe, RNN, LSTM and GRU of 16 to 128 units, batch 1 to 32, T 100).
    #[must_use]
    pub fn for_training(self) -> Self {
        let host = (self.target == Target::Host).then_some(32 << 20);
        Self { trains: true, chunk_bytes: self.chunk_bytes.or(host), ..self }
    }

    /// The same choices but for the bytes that steps keep for their way back, where they are given.
    #[must_use]
    pub fn with_keep_bytes(self, keep_bytes: Option<u64>) -> Self {
        Self { keep_bytes, ..self }
    }

    /// The strategy that is taken wherever it can be, if one is.
    pub fn held_to(&self) -> Option<Strategy> {
        self.strategy
    }

    /// How a layer, or a run of layers, goes through time: by scans where its weights are few, and a run by diagonals on a
    /// GPU, while launches are what it waits for.
    ///
    /// A scan saves the launches, and has one workgroup for a tile of rows where steps have the device. A launch that waits
    /// for the one before takes a GPU some 3 to 5 µs; a step of 16,384 weights (64 KiB, an LSTM of 64 units) takes a
    /// workgroup about 1 µs from its own cache, whatever the batch: rows have workgroups of their own.
    ///
    /// A software GPU launches in 20 to 50 µs, and what a workgroup costs there is loading weights lane by lane. Where a
    /// scan holds them it was 4 to 13 times as fast as steps at batch 1, and 1.2 to 6 times at batch 8 and 32 (lavapipe,
    /// RNN of 16 to 64 units, LSTM and GRU of 16, T 100). Where it does not, it was 1.0 to 5.4 times as fast up to
    /// [`SCANNED_WIDE`] (48 to 256 units, batch 1 to 32), and with more of either 0.6 to 1.6 times. `SwiftShader`,
    /// whose subgroups have four lanes, goes through time by scans 0.7 to 1.1 times as fast as by steps beyond 16,384
    /// multiplications a step, and 0.9 to 1.3 times up to them.
    ///
    /// It has few lanes to fill, too: a run by diagonals was faster than steps by more than 5 % where a scan is faster still
    /// (lavapipe, LSTM of 64 and 128 units in four layers and eight at batch 1), and elsewhere up to twice as slow (LSTM, GRU
    /// and RNN of 32 to 256 units, batch 1 to 32): the hoisted product takes eight rows for each weight it loads, the step one.
    pub fn strategy(&self, wave: Wave, limits: &Limits) -> Strategy {
        let Product { rows, depth, panels, gates } = wave.product;
        let products = rows.saturating_mul(depth).saturating_mul(panels * gates * 16);
        match (self.strategy, self.target) {
            // Where no two workgroups are sure to run side by side, one has the layer by itself.
            (Some(Strategy::Persistent), _) if limits.resident_workgroups == 1 => Strategy::Scan,
            (Some(strategy), _) => strategy,
            (None, _) if wave.time > 1 && self.scan_pays(wave.product, limits) => Strategy::Scan,
            (None, Target::Gpu) if products <= LAUNCHES => Strategy::Diagonal,
            (None, _) => Strategy::Step,
        }
    }

    /// What holds the matrices: a software GPU takes four numbers of a texture for less than two of a buffer.
    pub fn medium(&self) -> Medium {
        match self.target {
            Target::Software => Medium::Texture,
            Target::Host | Target::Gpu => Medium::Buffer,
        }
    }

    /// Whether a layer goes through time faster by scans than by steps.
    fn scan_pays(&self, product: Product, limits: &Limits) -> bool {
        let Product { rows, depth, panels, gates } = product;
        let weights = depth.saturating_mul(panels * gates * 16);
        match self.target {
            Target::Host => false,
            Target::Software
                if self.trains && (depth > TRAINED_UNITS || rows.saturating_mul(depth) > TRAINED_BATCH) =>
            {
                false
            }
            Target::Software => {
                let products = rows.saturating_mul(weights);
                let [most_weights, most_products] = SCANNED_WIDE;
                let wide = limits.subgroup_lanes >= Loads::LANES;
                held(depth, gates, HELD_SOFTWARE) > 0
                    || products <= SCANNED
                    || wide && weights <= most_weights && products <= most_products
            }
            Target::Gpu => weights <= SCANNED,
        }
    }

    /// Bytes that the hoisted gates and the other sequences of a chunk may take.
    ///
    /// On a host a chunk should stay in the caches; on a GPU it should be long, since each costs a dispatch a layer.
    pub fn chunk_bytes(&self) -> u64 {
        self.chunk_bytes.unwrap_or(match self.target {
            Target::Host => 4 << 20,
            Target::Software | Target::Gpu => 16 << 20,
        })
    }

    /// Bytes that the steps of a call may keep for their way back. What they do not keep is computed twice.
    ///
    /// A step that keeps saves a third of what its way back multiplies, so the room is as large as devices of today can spare.
    pub fn keep_bytes(&self) -> u64 {
        self.keep_bytes.unwrap_or(match self.target {
            Target::Host => 4 << 30,
            Target::Software | Target::Gpu => 1 << 30,
        })
    }

    /// The tile of the hoisted product and of linear layers: every weight loaded serves `rows` rows; panels, then tiles
    /// of rows, fill a workgroup of 64.
    pub fn project(&self, product: Product, limits: &Limits) -> Tile {
        let panels = at_most(product.panels, 16);
        if let Some(tile) = self.shared(product, panels, limits) {
            return tile;
        }
        let rows = rows_for(product.rows);
        let tiles = at_most(product.rows.div_ceil(rows as usize), 16);
        Tile { rows, panels, slices: (16 / panels).min(tiles), ..Tile::NONE }
    }

    /// Who loads the rows that a product takes many times: on a software GPU the lanes of a subgroup together, where there are enough.
    ///
    /// Of the gradient of a matrix (`outer`, lavapipe, 1,600 rows by 256 and 1,024 columns) loads that are shared took a sixth
    /// of the time, and a 25th from textures.
    pub fn loads(&self, limits: &Limits) -> Loads {
        let pays = self.target == Target::Software && limits.subgroup_lanes >= Loads::LANES;
        if pays { Loads::Subgroup } else { Loads::Lane }
    }

    /// How many panels of one gate an invocation computes: on a software GPU four, so that what it loads of the source, the
    /// dearer half of its loads, serves as many units as of a cell of four gates.
    pub fn wide(&self) -> u32 {
        if self.target == Target::Software { Tile::WIDE } else { 1 }
    }

    /// The tile whose rows are loaded by the lanes of a subgroup together, where that pays.
    ///
    /// A software GPU spends its time on loads, each of them lane by lane: of a tile of eight rows a third goes to elements
    /// that all lanes share. Loaded once and broadcast, they cost an eighth. (Tiles of sixteen rows were faster by another
    /// seventh, and took twice as long to compile.)
    fn shared(&self, product: Product, panels: u32, limits: &Limits) -> Option<Tile> {
        let pays = product.rows > 4 && self.loads(limits) == Loads::Subgroup;
        // Whole subgroups have the tile's rows: four lanes a panel.
        let panels = panels.next_multiple_of(Loads::LANES / 4);
        pays.then_some(Tile { rows: 8, loads: Loads::Subgroup, panels, ..Tile::NONE })
    }

    /// The tile of a timestep.
    ///
    /// Rows first: a weight loaded once serves them all. Then, on a GPU, slices of the depth until there are some
    /// 16,384 invocations: at batch 1 the units alone leave a GPU almost idle. At most 16 slices, since one invocation
    /// adds them up. A software GPU has as many lanes as a CPU has, and pays for the barrier that slices need.
    pub fn step(&self, product: Product, limits: &Limits) -> Tile {
        self.sliced(product, 1, limits)
    }

    /// The tile of a timestep of a run: half of its slices are for the input product.
    pub fn diagonal(&self, wave: Wave, limits: &Limits) -> Tile {
        let product = Product { panels: wave.product.panels.saturating_mul(wave.layers), ..wave.product };
        let tile = self.sliced(product, 2, limits);
        // Each layer has workgroups of its own.
        Tile { panels: at_most(wave.product.panels, tile.panels), ..tile }
    }

    /// The tile of a scan, forward or back, whose workgroups have all panels of a layer; `None` where no workgroup of the device can.
    ///
    /// A GPU has a multiprocessor for each of some 64 workgroups, and slices until a workgroup is full: what it holds of the
    /// weights then fits its registers more often. A software GPU has few threads, and takes seconds to compile more than
    /// four rows of held weights, which were no faster.
    pub fn scan(&self, product: Product, limits: &Limits) -> Option<Tile> {
        let panels = u32::try_from(product.panels).ok()?;
        let least = Tile { panels, ..Tile::NONE };
        let fits = |tile: &Tile| {
            let shares = if tile.slices > 1 { tile.slices as usize * product.gates } else { 0 };
            let bytes = product.panels.saturating_mul(64 * shares).saturating_add(product.depth.saturating_mul(4));
            (4 * panels).saturating_mul(tile.slices) <= limits.invocations
                && bytes.saturating_mul(tile.rows as usize) <= limits.workgroup_bytes as usize
                && tile.slices as usize <= product.depth / 4
        };
        if 4 * product.panels > limits.invocations as usize || !fits(&least) {
            return None;
        }
        let (groups, most_rows, most_slices, most_held) = match self.target {
            Target::Host => return Some(least),
            Target::Software if held(product.depth, product.gates, HELD_SOFTWARE) > 0 => (2, 4, 1, HELD_SOFTWARE),
            Target::Software => (2, 8, 1, 0),
            Target::Gpu => (64, 8, 16, HELD_GPU),
        };
        let rows = rows_for(product.rows.div_ceil(groups)).min(most_rows);
        let tiles =
            Loads::Lane.rows().iter().rev().copied().filter(|&tile| tile <= rows).map(|rows| Tile { rows, ..least });
        let mut tile = tiles.into_iter().find(fits)?;
        while tile.slices < most_slices && fits(&Tile { slices: 2 * tile.slices, ..tile }) {
            tile.slices *= 2;
        }
        Some(Tile { held: held(product.depth / tile.slices as usize, product.gates, most_held), ..tile })
    }

    /// The tile of a layer whose panels some workgroups share, where `sides` directions go side by side; `None` where they
    /// would be fewer than two, or more than are known to run side by side.
    ///
    /// As many workgroups as there may be, and rows first, as in a step. Then slices, until what a workgroup has of the
    /// weights fits registers; where it never does, as many as a step would have.
    pub fn persistent(&self, product: Product, sides: usize, limits: &Limits) -> Option<Tile> {
        let layer = u32::try_from(product.panels).ok()?;
        let (most_slices, most_held) = match self.target {
            Target::Host => (1, 0),
            Target::Software => (8, HELD_SOFTWARE),
            Target::Gpu => (32, HELD_GPU),
        };
        let fits = |tile: &Tile| {
            let lanes = 4 * u64::from(tile.panels) * u64::from(tile.slices);
            let shares = if tile.slices > 1 { lanes * product.gates as u64 } else { 0 };
            // And how long it has waited.
            let bytes = 16 * u64::from(tile.rows) * (4 * u64::from(layer) + shares) + 4;
            lanes <= limits.invocations.into()
                && bytes <= limits.workgroup_bytes.into()
                && tile.slices as usize <= product.depth / 4
        };
        let of = |rows: u32| {
            let tiles = product.rows.div_ceil(rows as usize).saturating_mul(sides);
            let groups = (limits.resident_workgroups as usize / tiles).min(product.panels);
            let tile = Tile { rows, panels: layer.div_ceil(u32::try_from(groups).ok()?.max(1)), layer, ..Tile::NONE };
            Some(tile).filter(|tile| groups > 1 && fits(tile))
        };
        let most_rows = rows_for(product.rows);
        let tile = Loads::Lane.rows().iter().rev().filter(|&&rows| rows <= most_rows).find_map(|&rows| of(rows))?;
        let slices = std::iter::successors(Some(tile), |tile| Some(Tile { slices: 2 * tile.slices, ..*tile }));
        let sliced: Vec<_> = slices.take_while(|tile| tile.slices <= most_slices && fits(tile)).collect();
        let held = sliced.iter().find_map(|tile| {
            let held = held(product.depth / tile.slices as usize, product.gates, most_held);
            (held > 0).then_some(Tile { held, ..*tile })
        });
        match self.target {
            Target::Gpu => held.or_else(|| sliced.into_iter().rfind(|tile| tile.slices <= 16)),
            Target::Host | Target::Software => held.or(Some(tile)),
        }
    }

    /// The tile of a step of `least` slices or more.
    fn sliced(&self, product: Product, least: u32, limits: &Limits) -> Tile {
        let rows = rows_for(product.rows);
        match self.target {
            Target::Host => Tile { slices: least, ..Tile::NONE },
            Target::Software => {
                let panels = at_most(product.panels, 2);
                let shared = if least == 1 { self.shared(product, panels, limits) } else { None };
                shared.unwrap_or(Tile { rows, panels, slices: least, ..Tile::NONE })
            }
            Target::Gpu => {
                let invocations = |slices: u32| {
                    product.panels as u64 * 4 * u64::from(slices) * product.rows.div_ceil(rows as usize) as u64
                };
                let fits = |slices: u32| {
                    let bytes = 16 * 4 * u64::from(slices) * u64::from(rows) * product.gates as u64;
                    bytes <= u64::from(limits.workgroup_bytes)
                        && slices <= 16
                        && 4 * slices <= limits.invocations
                        && (slices / least) as usize <= product.depth / 4
                };
                let mut slices = least;
                while invocations(slices) < 16_384 && fits(slices * 2) {
                    slices *= 2;
                }
                // A workgroup of fewer than 32 lanes wastes a subgroup.
                let panels = at_most(product.panels, (32 / (4 * slices)).max(1));
                Tile { rows, panels, slices, ..Tile::NONE }
            }
        }
    }
}

/// Rows of a depth whose weights an invocation of a scan holds, all of them or none: at most `most` fours of all gates.
fn held(depth: usize, gates: usize, most: usize) -> u32 {
    let part = Tile::HELD.into_iter().find(|&held| held as usize == depth);
    part.filter(|_| depth * gates <= most).unwrap_or(0)
}

/// `count`, but at least 1 and at most `most`.
fn at_most(count: usize, most: u32) -> u32 {
    u32::try_from(count).map_or(most, |count| count.clamp(1, most))
}

/// The smallest tile that takes all rows, up to the largest there is.
fn rows_for(rows: usize) -> u32 {
    Loads::Lane.rows().iter().copied().find(|&tile| tile as usize >= rows).unwrap_or(8)
}
