//! Convolutions over steps: their programs, and where the weights of one are in its matrix.
//!
//! A convolution is a product whose depth has the taps one after the other. For each tap a row of the source is another
//! one, so that no window is ever copied. With groups, a panel multiplies only the features of its own groups: a band
//! of the row, as wide for all panels. Weights of the band that belong to other groups are zero.
//!
//! [`Program`](super::Program) holds the programs as one variant. [`catalog`](super::catalog) says what each computes.

use super::derived::product_iterations;
use super::{Kernel, LANES, Matrix, Params, Program, Tile, padded};
use crate::cell::Activation;
use crate::precision::Precision;

/// A program of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Convolve {
    /// [`Kernel::Conv`].
    Forward {
        /// The function that the results go through.
        activation: Activation,
        /// The matrix of the product.
        matrix: Matrix,
        /// How the product is cut.
        tile: Tile,
    },
    /// [`Kernel::ConvBack`].
    Back {
        /// Whether it is the first dispatch of its target: it then takes the target for zeros.
        first: bool,
    },
    /// [`Kernel::ConvOuter`].
    Outer {
        /// Whether it is the first dispatch of its target: it then takes the target for zeros.
        first: bool,
    },
}

/// Which elements of a row each panel of a convolution multiplies: `width` from [`first`](Self::first) on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Band {
    /// The taps of the kernel.
    pub taps: usize,
    /// The features of a group of the input.
    pub inputs: usize,
    /// The features of a group of the output.
    pub outputs: usize,
    /// The features of a part of a row of the input.
    pub size: usize,
    /// The elements of a row of the input, padding included.
    pub row: usize,
    /// The elements that a panel multiplies for each tap: a multiple of [`LANES`].
    pub width: usize,
}

/// Elements of a row are loaded in fours.
const FOUR: usize = 4;

impl Band {
    /// Returns the band of a convolution whose input has rows of `parts` parts with `size` features each.
    pub fn of(taps: usize, [inputs, outputs]: [usize; 2], [parts, size]: [usize; 2]) -> Self {
        let row = parts * padded(size);
        // The most groups that a panel has units of, and the groups between the starts of two panels.
        let (groups, step) = match (LANES % outputs, outputs % LANES) {
            (0, _) => (LANES / outputs, LANES / outputs),
            (_, 0) => (1, 1),
            _ => ((LANES - 2) / outputs + 2, 1),
        };
        let features = groups.saturating_mul(inputs).min(parts * size);
        // Parts are padded, and a band starts at a multiple of four.
        let ends = if parts > 1 { (features / size + 1) * (padded(size) - size) } else { 0 };
        let slack = if ends == 0 && (step * inputs).is_multiple_of(FOUR) { 0 } else { FOUR - 1 };
        let width = padded(features.saturating_add(ends + slack)).min(row);
        Self { taps, inputs, outputs, size, row, width }
    }

    /// Returns the band that `p` tells.
    pub fn told(p: &Params) -> Self {
        let taps = p.steps.max(1);
        Self {
            taps: taps as usize,
            inputs: p.tokens as usize,
            outputs: p.features as usize,
            size: p.source_features as usize,
            row: p.source_units as usize,
            width: (p.depth / taps) as usize,
        }
    }

    /// Returns the element of a row that feature `feature` is.
    pub fn column(&self, feature: usize) -> usize {
        feature / self.size * padded(self.size) + feature % self.size
    }

    /// Returns the first element of a row that panel `panel` multiplies: a multiple of four.
    pub fn first(&self, panel: usize) -> usize {
        let column = self.column(panel * LANES / self.outputs * self.inputs);
        (column / FOUR * FOUR).min(self.row - self.width)
    }

    /// Returns the row of the depth that has weight `at` of unit `unit`, of `[inputs][taps]`.
    pub fn place(&self, unit: usize, at: usize) -> usize {
        let (input, tap) = (at / self.taps, at % self.taps);
        let column = self.column(unit / self.outputs * self.inputs + input);
        tap * self.width + column - self.first(unit / LANES)
    }

    /// Returns the group of the feature that element `column` of a row is; `None` for padding, which may be past all.
    pub fn group(&self, column: usize) -> Option<usize> {
        let (part, within) = (column / padded(self.size), column % padded(self.size));
        (within < self.size).then(|| (part * self.size + within) / self.inputs)
    }
}

impl Program {
    /// Returns the program of a convolution, if it is one.
    pub fn convolve(&self) -> Option<Convolve> {
        if let Self::Convolve(convolve) = self { Some(*convolve) } else { None }
    }
}

/// Questions that a program of a convolution answers.
impl Convolve {
    /// Returns the kernel.
    pub fn kernel(self) -> Kernel {
        match self {
            Self::Forward { .. } => Kernel::Conv,
            Self::Back { .. } => Kernel::ConvBack,
            Self::Outer { .. } => Kernel::ConvOuter,
        }
    }

    /// Returns the matrix of its product and how that is cut, if it has one.
    pub(super) fn product(&mut self) -> Option<(&mut Matrix, &mut Tile)> {
        match self {
            Self::Forward { matrix, tile, .. } => Some((matrix, tile)),
            Self::Back { .. } | Self::Outer { .. } => None,
        }
    }

    /// Returns how its weights are stored, if it has any.
    pub(super) fn storage(self) -> Option<Precision> {
        match self {
            Self::Forward { matrix, .. } => Some(matrix.storage),
            // Training has no numbers but floats.
            Self::Back { .. } => Some(Precision::F32),
            Self::Outer { .. } => None,
        }
    }

    /// Returns the function that its results go through: `Linear` if there is none.
    pub(super) fn activation(self) -> Activation {
        match self {
            Self::Forward { activation, .. } => activation,
            Self::Back { .. } | Self::Outer { .. } => Activation::Linear,
        }
    }

    /// Returns whether it is the first dispatch of its target, if the program depends on it.
    pub(super) fn first(self) -> Option<bool> {
        match self {
            Self::Forward { .. } => None,
            Self::Back { first } | Self::Outer { first } => Some(first),
        }
    }

    /// Returns the most loop iterations that one invocation runs, with no loop unrolled.
    pub(super) fn loop_iterations(self, params: &Params) -> u64 {
        let taps = u64::from(params.steps);
        match self {
            Self::Forward { tile, .. } => taps + product_iterations(tile, 1, params.depth, 1),
            Self::Back { .. } => u64::from(params.panels) * (1 + taps * 5),
            Self::Outer { .. } => params.rows.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_panel_has_all_features_of_its_groups_in_its_band() {
        for (parts, size) in [(1, 12), (1, 48), (2, 24), (3, 16), (2, 5), (1, 1), (4, 6)] {
            let features: usize = parts * size;
            for groups in (1..=features).filter(|&groups| features.is_multiple_of(groups)) {
                for each in [1, 2, 3, 5, 8, 16, 20] {
                    let (inputs, units) = (features / groups, groups * each);
                    let band = Band::of(3, [inputs, each], [parts, size]);
                    assert!(band.width <= band.row && band.width.is_multiple_of(LANES), "{band:?}");
                    let mut seen = std::collections::HashSet::new();
                    for (unit, at) in (0..units).flat_map(|unit| (0..3 * inputs).map(move |at| (unit, at))) {
                        let place = band.place(unit, at);
                        assert!(place / band.width == at % 3, "{band:?}: {place} of tap {}", at % 3);
                        assert!(seen.insert((unit, place)), "{band:?}: two weights of unit {unit} at {place}");
                        let column = place % band.width + band.first(unit / LANES);
                        assert_eq!(band.group(column), Some(unit / each), "{band:?}");
                    }
                }
            }
        }
        // A depthwise convolution multiplies no more than the features of a panel.
        assert_eq!(Band::of(3, [1, 1], [1, 256]).width, LANES);
        assert_eq!(Band::of(3, [64, 32], [1, 64]).first(1), 0);
    }
}
