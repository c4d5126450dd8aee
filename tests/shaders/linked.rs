//! Linked modules: each text is parsed once for all tests.

use std::collections::HashMap;
use std::error::Error as _;
use std::sync::{Arc, OnceLock};
use std::thread;

use gatewave::inspect::kernel::{Loads, Program, link};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{Expression, Literal, Module};

use crate::source;

/// The capabilities of every WebGPU device.
const BASELINE: Capabilities = Capabilities::empty();
/// The additional capability for loads by a subgroup.
const SUBGROUPS: Capabilities = Capabilities::SUBGROUP;
/// A linked module, parsed and validated.
pub(crate) struct Linked {
    pub(crate) text: String,
    pub(crate) module: Module,
    pub(crate) info: ModuleInfo,
}

impl Linked {
    pub(crate) fn of(program: &Program) -> Result<Self, String> {
        Self::with(link::source(program), if program.loads() == Some(Loads::Subgroup) { SUBGROUPS } else { BASELINE })
    }

    pub(crate) fn parse(text: String) -> Result<Self, String> {
        Self::with(text, BASELINE)
    }

    fn with(text: String, capabilities: Capabilities) -> Result<Self, String> {
        let module = naga::front::wgsl::parse_str(&text).map_err(|error| {
            let line = error.location(&text).map_or(0, |location| location.line_number as usize);
            format!("{}: {}", source::place(&text, line), error.message())
        })?;
        let info = Validator::new(ValidationFlags::all(), capabilities).validate(&module).map_err(|error| {
            // The narrowest of the spans: the widest is the whole function.
            let span =
                error.spans().map(|(span, _)| *span).min_by_key(|span| span.to_range().map_or(usize::MAX, |r| r.len()));
            let place = source::place_of(&text, span.unwrap_or_default());
            let mut message = format!("{place}: {}", error.as_inner());
            let mut cause = error.as_inner().source();
            while let Some(inner) = cause {
                message += &format!(": {inner}");
                cause = inner.source();
            }
            message
        })?;
        Ok(Self { text, module, info })
    }

    /// The value of the module's constant `name`.
    pub(crate) fn constant(&self, name: &str) -> Option<usize> {
        let (_, constant) =
            self.module.constants.iter().find(|(_, constant)| constant.name.as_deref() == Some(name))?;
        match self.module.global_expressions[constant.init] {
            Expression::Literal(Literal::U32(value)) => usize::try_from(value).ok(),
            Expression::Literal(Literal::I32(value)) => usize::try_from(value).ok(),
            Expression::Literal(Literal::AbstractInt(value)) => usize::try_from(value).ok(),
            _ => None,
        }
    }
}

/// A module, or the reason why it is none.
pub(crate) type Parsed = Arc<Result<Linked, String>>;

/// Returns every program with its module, parsed once for all tests. Programs with the same text share one.
pub(crate) fn every_program() -> &'static [(Program, Parsed)] {
    static EVERY: OnceLock<Vec<(Program, Parsed)>> = OnceLock::new();
    EVERY.get_or_init(|| {
        let programs = link::programs();
        let mut texts: HashMap<String, Program> = HashMap::new();
        for program in &programs {
            texts.entry(link::source(program)).or_insert(*program);
        }
        let texts: Vec<_> = texts.into_iter().collect();
        let parsed = thread::scope(|scope| {
            let parts = texts.chunks(texts.len().div_ceil(4)).map(|part| {
                scope.spawn(|| {
                    part.iter().map(|(text, program)| (text, Arc::new(Linked::of(program)))).collect::<Vec<_>>()
                })
            });
            let parts: Vec<_> = parts.collect();
            let parts = parts.into_iter().flat_map(|part| part.join().expect("what does not parse is an error"));
            parts.collect::<HashMap<_, _>>()
        });
        let of = |program: Program| (program, Arc::clone(&parsed[&link::source(&program)]));
        programs.into_iter().map(of).collect()
    })
}
