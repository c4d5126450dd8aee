//! Choosing: how a product is cut over invocations, how much scratch a call may take. The only place with opinions
//! about devices; every number has its reason beside it.

use super::{Limits, Strategy};
use crate::kernel::Tile;

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

/// The sizes of a timestep of a run of layers.
#[derive(Clone, Copy, Debug)]
pub struct Wave {
    /// L, the layers.
    pub layers: usize,
    /// The recurrent product of one of them.
    pub product: Product,
}

/// Multiplications of a step that take a large GPU a few launches of some 5 µs: where one layer has more of them, the
/// launches that several layers share are no great part of the time.
const LAUNCHES: usize = 64 << 20;

/// The choices for a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    target: Target,
    strategy: Option<Strategy>,
}

impl Tuning {
    /// The choices for `target`.
    pub fn of(target: Target) -> Self {
        Self { target, strategy: None }
    }

    /// The same choices but for the strategy, where one is given: it is taken wherever it can be.
    #[must_use]
    pub fn with_strategy(self, strategy: Option<Strategy>) -> Self {
        Self { strategy, ..self }
    }

    /// How a run of layers goes through time: by diagonals on a GPU, while launches are what it waits for.
    ///
    /// A software GPU launches cheaply and has few lanes to fill. There a run by diagonals was never faster by more than 5 %
    /// (lavapipe, LSTM, GRU and RNN of 32 to 256 units, batch 1 to 32), and twice as slow at batch 1 and 256 units: the
    /// hoisted product takes eight rows for each weight it loads, the step one.
    pub fn strategy(&self, wave: Wave) -> Strategy {
        let Product { rows, depth, panels, gates } = wave.product;
        let products = rows.saturating_mul(depth).saturating_mul(panels * gates * 16);
        match (self.strategy, self.target) {
            (Some(strategy), _) => strategy,
            (None, Target::Gpu) if products <= LAUNCHES => Strategy::Diagonal,
            (None, _) => Strategy::Step,
        }
    }

    /// Bytes that the hoisted gates and the other sequences of a chunk may take.
    ///
    /// On a host a chunk should stay in the caches; on a GPU it should be long, since each costs a dispatch a layer.
    pub fn chunk_bytes(&self) -> u64 {
        match self.target {
            Target::Host => 4 << 20,
            Target::Software | Target::Gpu => 16 << 20,
        }
    }

    /// The tile of the hoisted product and of linear layers: every weight loaded serves `rows` rows; panels, then tiles
    /// of rows, fill a workgroup of 64.
    pub fn project(&self, product: Product) -> Tile {
        let rows = rows_for(product.rows);
        let panels = at_most(product.panels, 16);
        let tiles = at_most(product.rows.div_ceil(rows as usize), 16);
        Tile { rows, panels, slices: (16 / panels).min(tiles), held: 0 }
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

    /// The tile of a scan, whose workgroups have all panels of a layer; `None` where no workgroup of the device can.
    pub fn scan(&self, product: Product, limits: &Limits) -> Option<Tile> {
        let panels = u32::try_from(product.panels).ok()?;
        let least = Tile { panels, ..Tile::NONE };
        let bytes = |tile: Tile| {
            let shares = if tile.slices > 1 { tile.slices as usize * product.gates } else { 0 };
            64 * panels as usize * tile.rows as usize * (1 + shares)
        };
        let fits = |tile: &Tile| {
            (4 * panels).saturating_mul(tile.slices) <= limits.invocations
                && bytes(*tile) <= limits.workgroup_bytes as usize
                && tile.slices as usize <= product.depth / 4
        };
        if !fits(&least) {
            return None;
        }
        let (groups, most_held, most_slices) = match self.target {
            Target::Host => return Some(least),
            Target::Software => (4, 64, 1),
            Target::Gpu => (64, 32, 16),
        };
        let rows = rows_for(product.rows.div_ceil(groups));
        let tiles = Tile::ROWS.into_iter().rev().filter(|&tile| tile <= rows).map(|rows| Tile { rows, ..least });
        let mut tile = tiles.into_iter().find(fits)?;
        while tile.slices < most_slices && fits(&Tile { slices: 2 * tile.slices, ..tile }) {
            tile.slices *= 2;
        }
        let held = u32::try_from(product.depth).ok()? / tile.slices;
        let holds = held as usize * product.gates <= most_held && Tile::HELD.contains(&held);
        Some(if holds { Tile { held, ..tile } } else { tile })
    }

    /// The tile of a step of `least` slices or more.
    fn sliced(&self, product: Product, least: u32, limits: &Limits) -> Tile {
        let rows = rows_for(product.rows);
        match self.target {
            Target::Host => Tile { slices: least, ..Tile::NONE },
            Target::Software => Tile { rows, panels: at_most(product.panels, 2), slices: least, held: 0 },
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
                Tile { rows, panels, slices, held: 0 }
            }
        }
    }
}

/// `count`, but at least 1 and at most `most`.
fn at_most(count: usize, most: u32) -> u32 {
    u32::try_from(count).map_or(most, |count| count.clamp(1, most))
}

/// The smallest tile that takes all rows, up to the largest there is.
fn rows_for(rows: usize) -> u32 {
    Tile::ROWS.into_iter().find(|&tile| tile as usize >= rows).unwrap_or(8)
}
