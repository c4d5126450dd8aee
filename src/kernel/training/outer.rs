//! The product that the gradient of a matrix is, and how it is cut.

use crate::kernel::{Loads, Medium};

/// Products of each element of a row with each of another, summed over rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Outer {
    /// G.
    pub gates: u32,
    /// Rows of a panel of the target after those of the depth: the bias, and peepholes, which it leaves alone.
    pub after: u32,
    /// Whether it is the first dispatch of its target: then it takes that for zeros.
    pub first: bool,
    /// Whether each gate takes rows of the source of its own: a row is laid out as one of gates.
    pub apart: bool,
    /// Who loads rows of the source. A linked part.
    pub loads: Loads,
    /// What holds source and δ: both alike.
    pub medium: Medium,
}

impl Outer {
    /// Rows of the target that a workgroup computes.
    pub fn rows(self) -> u32 {
        match self.loads {
            Loads::Lane => 16,
            Loads::Subgroup => 4 * Loads::LANES,
        }
    }

    /// Columns of the target that a workgroup computes.
    pub fn columns(self) -> u32 {
        match self.loads {
            Loads::Lane => 64,
            Loads::Subgroup => 128,
        }
    }

    /// Invocations of a workgroup: each has four columns of four rows, or of all.
    pub fn invocations(self) -> u32 {
        match self.loads {
            Loads::Lane => self.rows() / 4 * (self.columns() / 4),
            Loads::Subgroup => self.columns() / 4,
        }
    }

    /// Workgroups for a matrix of `depth` rows and `units` columns: the bias has some of its own.
    pub fn grid(self, depth: u32, units: u32) -> [u32; 2] {
        [depth.div_ceil(self.rows()) + 1, units.div_ceil(self.columns())]
    }
}
