//! Choices: how a product is cut over invocations, and how much scratch a call may take. Only files of this
//! name have opinions about devices, and this one has the plan's. Every number has its reason beside it.

use super::{Limits, Strategy};
use crate::kernel::{Loads, Medium, Tile};

/// The kind of device that a plan is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// The CPU executor.
    Host,
    /// A GPU that runs on a CPU: lavapipe, `SwiftShader`, WARP.
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

/// The sizes of a wavefront's layers, or of a single layer.
#[derive(Clone, Copy, Debug)]
pub struct LayerShape {
    /// L, the layers.
    pub layers: usize,
    /// T, the timesteps of the call.
    pub time: usize,
    /// The recurrent product of one layer.
    pub product: Product,
}

/// Multiplications of a step that take a large GPU as long as a few launches of some 5 µs. If one
/// layer has more, the launches that several layers would share are a small part of the time.
const LAUNCHES: usize = 64 << 20;

/// The most weights of a layer's recurrent product with which a lone workgroup goes
/// through time faster than launches do. On a software GPU it limits the multiplications
/// of a step, since its rows have no workgroups to spare: see [`Tuning::strategy`].
const SCANNED: usize = 16 << 10;

/// The same limit on a software GPU with wide subgroups, and the most multiplications of a step there.
const SCANNED_WIDE: [usize; 2] = [144 << 10, 288 << 10];

/// The most units of a layer, and then of all rows, that a software GPU trains by scans: see [`Tuning::for_training`].
const TRAINED_UNITS: usize = 128;
const TRAINED_BATCH: usize = 512;

/// The most weights that an invocation of a scan holds, in fours. On a GPU they are half of an invocation's
/// registers. On lavapipe they compile in a second or two: it keeps them in memory, as vectors of lanes side by side.
const HELD_GPU: usize = 32;
const HELD_SOFTWARE: usize = 64;

/// The most elements of a call that one thread of the host lays out as fast as
/// several. For fewer elements, waking other threads costs more than they save.
pub(crate) const PARALLEL_ELEMS: usize = 1 << 16;

/// Elements whose squares one workgroup of an update adds up.
pub(crate) const SQUARED: usize = 1 << 15;

/// The choices for a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    target: Target,
    /// Whether the call has a backward pass.
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
    /// Returns the choices for `target`.
    pub fn of(target: Target) -> Self {
        Self { target, trains: false, strategy: None, chunk_bytes: None, keep_bytes: None }
    }

    /// Returns the target that the choices are for.
    pub fn target(&self) -> Target {
        self.target
    }

    /// Sets the strategy, if one is given. It is used wherever it can be.
    #[must_use]
    pub fn with_strategy(self, strategy: Option<Strategy>) -> Self {
        Self { strategy, ..self }
    }

    /// Sets the bytes of a chunk, if they are given.
    #[must_use]
    pub fn with_chunk_bytes(self, chunk_bytes: Option<u64>) -> Self {
        Self { chunk_bytes, ..self }
    }

    /// Sets the choices for a call with a backward pass.
    ///
    /// Each chunk costs one more product there, of the gradient that it hands to the chunk
    /// before it. It also reads and writes the gradients of all matrices. On a host, chunks
    /// of 32 MiB were a tenth faster than those of 4 MiB (LSTM of 512 units, batch 64).
    ///
    /// The backward pass of a scan reads as many weights, and has no room to hold them. On a software GPU, forward and
    /// backward passes by scans took 0.15 to 0.97 of the time by steps, up to 64 units and [`TRAINED_BATCH`]. With 128
    /// units and one row they took 0.5 to 0.7 of it on one machine, and 1.03 to 1.55 on another, whose launches cost
    /// less. Beyond [`TRAINED_UNITS`] and [`TRAINED_BATCH`] it was 0.7 to 2.7. (This was lavapipe, RNN, LSTM and GRU of
    /// 16 to 256 units, batch 1 to 32, T 100.)
    #[must_use]
    pub fn for_training(self) -> Self {
        let host = (self.target == Target::Host).then_some(32 << 20);
        Self { trains: true, chunk_bytes: self.chunk_bytes.or(host), ..self }
    }

    /// Sets the bytes that steps keep for their backward pass, if they are given.
    #[must_use]
    pub fn with_keep_bytes(self, keep_bytes: Option<u64>) -> Self {
        Self { keep_bytes, ..self }
    }

    /// Returns the strategy that is used wherever it can be, if one is set.
    pub fn fixed_strategy(&self) -> Option<Strategy> {
        self.strategy
    }

    /// Returns how a layer, or a wavefront of layers, goes through time. Layers with few weights
    /// use scans. Several layers use wavefronts on a GPU, as long as launches dominate the time.
    ///
    /// A scan saves the launches, but has only one workgroup for a tile of rows, while steps
    /// have the whole device. A launch that waits for the one before takes a GPU some 3 to 5
    /// µs. A step of 16,384 weights (64 KiB, an LSTM of 64 units) takes a workgroup about 1
    /// µs from its own cache. This holds for any batch, since rows have their own workgroups.
    ///
    /// A software GPU launches in 20 to 50 µs, and a workgroup's cost is loading weights lane by lane.
    /// The following factors are speeds of scans relative to steps (T 100; the first two on lavapipe):
    ///
    /// - A scan that holds its weights: 4 to 13 times at batch 1, and 1.2 to 6 times at batch 8 and 32. (These were RNN
    ///   of 16 to 64 units, LSTM and GRU of 16.)
    /// - A scan that does not: 1.0 to 5.4 times up to [`SCANNED_WIDE`] (48 to 256
    ///   units, batch 1 to 32). With more of either, it is 0.6 to 1.6 times.
    /// - `SwiftShader`, whose subgroups have four lanes: 0.9 to 1.3 times up
    ///   to 16,384 multiplications a step, and 0.7 to 1.1 times beyond them.
    ///
    /// A software GPU has few lanes to fill, too. There a wavefront was faster than steps by more than 5 % only if a
    /// scan is faster still. (This was lavapipe, LSTM of 64 and 128 units in four and eight layers at batch 1.)
    /// Elsewhere it was up to twice as slow (LSTM, GRU and RNN of 32 to 256 units, batch 1 to 32). The reason: the
    /// input product takes eight rows for each weight that it loads, and the step takes one.
    pub fn strategy(&self, layers: LayerShape, limits: &Limits) -> Strategy {
        let Product { rows, depth, panels, gates } = layers.product;
        let products = rows.saturating_mul(depth).saturating_mul(panels * gates * 16);
        match (self.strategy, self.target) {
            // If no two workgroups are known to be co-resident, one has the whole layer.
            (Some(Strategy::Persistent), _) if limits.co_resident_workgroups == 1 => Strategy::Scan,
            (Some(strategy), _) => strategy,
            (None, _) if layers.time > 1 && self.scan_pays(layers.product, limits) => Strategy::Scan,
            (None, Target::Gpu) if products <= LAUNCHES => Strategy::Wavefront,
            (None, _) => Strategy::Step,
        }
    }

    /// Returns what holds the matrices. A software GPU reads four numbers of a texture faster than two of a buffer.
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

    /// Returns the most bytes of the gates and the other sequences of a chunk.
    ///
    /// On a host, a chunk should stay in the caches. On a GPU it should
    /// be long, since each chunk costs one dispatch for each layer.
    pub fn chunk_bytes(&self) -> u64 {
        self.chunk_bytes.unwrap_or(match self.target {
            Target::Host => 4 << 20,
            Target::Software | Target::Gpu => 16 << 20,
        })
    }

    /// Returns the most bytes that the steps of a call keep for
    /// their backward pass. What they do not keep is computed twice.
    ///
    /// A step that keeps saves a third of the multiplications of its
    /// backward pass, so the room is as large as today's devices can spare.
    pub fn keep_bytes(&self) -> u64 {
        self.keep_bytes.unwrap_or(match self.target {
            Target::Host => 4 << 30,
            Target::Software | Target::Gpu => 1 << 30,
        })
    }

    /// Returns the tile of the input product and of linear layers. Every weight that is
    /// loaded serves `rows` rows. Panels, then tiles of rows, fill a workgroup of 64.
    pub fn gemm(&self, product: Product, limits: &Limits) -> Tile {
        let panels = at_most(product.panels, 16);
        if let Some(tile) = self.shared(product, panels, limits) {
            return tile;
        }
        let rows = rows_for(product.rows);
        let tiles = at_most(product.rows.div_ceil(rows as usize), 16);
        Tile { rows, panels, slices: (16 / panels).min(tiles), ..Tile::NONE }
    }

    /// Returns who loads the rows that a product takes many times. On a software
    /// GPU the lanes of a subgroup load them together, if there are enough.
    ///
    /// For the gradient of a matrix (`outer`, lavapipe, 1,600 rows by 256 and 1,024
    /// columns), shared loads took a sixth of the time. From textures they took a 25th.
    pub fn loads(&self, limits: &Limits) -> Loads {
        let pays = self.target == Target::Software && limits.subgroup_lanes >= Loads::LANES;
        if pays { Loads::Subgroup } else { Loads::Lane }
    }

    /// Returns how many panels of one gate an invocation computes. On a software GPU it is four. Loads of the source
    /// are the more expensive half, and then serve as many units as in a cell of four gates.
    pub fn wide(&self) -> u32 {
        if self.target == Target::Software { Tile::WIDE } else { 1 }
    }

    /// Returns the tile whose rows the lanes of a subgroup load together, if that pays.
    ///
    /// A software GPU spends its time on loads, lane by lane. In a tile of eight rows, a third of
    /// it goes to elements that all lanes share. Loaded once and broadcast, these cost an eighth.
    /// (Tiles of sixteen rows were faster by another seventh, and took twice as long to compile.)
    fn shared(&self, product: Product, panels: u32, limits: &Limits) -> Option<Tile> {
        let pays = product.rows > 4 && self.loads(limits) == Loads::Subgroup;
        // Whole subgroups share the tile's rows, with four lanes for each panel.
        let panels = panels.next_multiple_of(Loads::LANES / 4);
        pays.then_some(Tile { rows: 8, loads: Loads::Subgroup, panels, ..Tile::NONE })
    }

    /// Returns the tile of a timestep.
    ///
    /// Rows come first: a weight that is loaded once serves them all. On a GPU, slices of
    /// the depth follow until there are some 16,384 invocations: at batch 1 the units alone
    /// leave a GPU almost idle. There are at most 16 slices, since one invocation adds them
    /// up. A software GPU has only a CPU's lanes, and pays for the barrier that slices need.
    pub fn step(&self, product: Product, limits: &Limits) -> Tile {
        self.sliced(product, 1, limits)
    }

    /// Returns the tile of a wavefront's timestep. Half of its slices are for the input product.
    pub fn wavefront(&self, layers: LayerShape, limits: &Limits) -> Tile {
        let product = Product { panels: layers.product.panels.saturating_mul(layers.layers), ..layers.product };
        let tile = self.sliced(product, 2, limits);
        // Each layer has its own workgroups.
        Tile { panels: at_most(layers.product.panels, tile.panels), ..tile }
    }

    /// Returns the tile of a scan, forward or backward, whose workgroups have all
    /// panels of a layer. Returns `None` if no workgroup of the device can have them.
    ///
    /// A GPU has a multiprocessor for each of some 64 workgroups, and slices until a workgroup is full. Held weights
    /// then fit its registers more often. A software GPU has few threads. It takes seconds to compile more than four
    /// rows of held weights, and these were no faster.
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

    /// Returns the tile of a layer whose panels several workgroups share, with `sides` directions side by side.
    /// Returns `None` if there would be fewer than two workgroups, or more than are known to be co-resident.
    ///
    /// It has as many workgroups as possible, and rows first, as in a step. Slices follow until the
    /// weights of a workgroup fit its registers, or if they never do, as many slices as in a step.
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
            // The last word is how long it has waited.
            let bytes = 16 * u64::from(tile.rows) * (4 * u64::from(layer) + shares) + 4;
            lanes <= limits.invocations.into()
                && bytes <= limits.workgroup_bytes.into()
                && tile.slices as usize <= product.depth / 4
        };
        let of = |rows: u32| {
            let tiles = product.rows.div_ceil(rows as usize).saturating_mul(sides);
            let groups = (limits.co_resident_workgroups as usize / tiles).min(product.panels);
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

    /// Returns the tile of a step with at least `least` slices.
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

/// Returns the rows of a depth whose weights an invocation of a
/// scan holds: all or none, and at most `most` fours of all gates.
fn held(depth: usize, gates: usize, most: usize) -> u32 {
    let part = Tile::HELD.into_iter().find(|&held| held as usize == depth);
    part.filter(|_| depth * gates <= most).unwrap_or(0)
}

/// Returns `count`, but at least 1 and at most `most`.
fn at_most(count: usize, most: u32) -> u32 {
    u32::try_from(count).map_or(most, |count| count.clamp(1, most))
}

/// Returns the rows of the smallest tile that takes all rows, up to those of the largest tile.
fn rows_for(rows: usize) -> u32 {
    Loads::Lane.rows().iter().copied().find(|&tile| tile as usize >= rows).unwrap_or(8)
}
