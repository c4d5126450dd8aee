//! The product that gives the gradient of a matrix, and how it is cut.

use crate::kernel::{Loads, Medium};

/// Products of each element of one row with each element of another, summed over rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Outer {
    /// G.
    pub gates: u32,
    /// Rows of a panel of the target after those of the depth:
    /// the bias, then peepholes, which the product leaves alone.
    pub after: u32,
    /// Whether it is the first dispatch of its target: it then takes the target for zeros.
    pub first: bool,
    /// Whether each gate takes its own row of the source, laid out as rows of gates are.
    pub per_gate: bool,
    /// Who loads rows of the source. A linked part.
    pub loads: Loads,
    /// What holds both the source and δ.
    pub medium: Medium,
}

impl Outer {
    /// Returns the rows of the target that a workgroup computes.
    pub fn rows(self) -> u32 {
        match self.loads {
            Loads::Lane => 16,
            Loads::Subgroup => 4 * Loads::LANES,
        }
    }

    /// Returns the columns of the target that a workgroup computes.
    pub fn columns(self) -> u32 {
        match self.loads {
            Loads::Lane => 64,
            Loads::Subgroup => 128,
        }
    }

    /// Returns the invocations of a workgroup. Each has four columns, of four rows or of all.
    pub fn invocations(self) -> u32 {
        match self.loads {
            Loads::Lane => self.rows() / 4 * (self.columns() / 4),
            Loads::Subgroup => self.columns() / 4,
        }
    }

    /// Returns the workgroups for a matrix of `depth` rows and `units` columns. The bias has some of its own.
    pub fn grid(self, depth: u32, units: u32) -> [u32; 2] {
        [depth.div_ceil(self.rows()) + 1, units.div_ceil(self.columns())]
    }
}
