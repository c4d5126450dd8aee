//! The barrier lint: rules of WGSL for barriers that naga does not check (wgpu#4369).
//!
//! No `return` in an entry point; no barrier in an `if` or a `switch`. No barrier in a loop that invocations of a
//! workgroup could leave, or skip a part of, at different times. A comment at each barrier. Works on naga's IR,
//! where `for`, `while`, `&&` and `||` are already loops, breaks and ifs. If it cannot decide, it assumes the worse.

use std::collections::HashSet;

use naga::{
    AddressSpace, Binding, Block, BuiltIn, Expression, Function, Handle, LocalVariable, Module, Span, Statement,
};

use crate::source;

/// Returns the errors in the barriers of `module`, parsed from the linked `text`: one line each, with file and line.
pub(crate) fn lint(text: &str, module: &Module) -> Vec<String> {
    let mut found = Vec::new();
    let mut with_barriers = HashSet::new();
    // A function's callees come before it in the arena.
    for (handle, function) in module.functions.iter() {
        let check = Check::of(module, function, &with_barriers);
        if check.has_barrier(&function.body) {
            check.block(&function.body, None, &mut found);
            check.returns(&function.body, "`return` in a function that holds a barrier", &mut found);
            with_barriers.insert(handle);
        }
    }
    for entry in &module.entry_points {
        let check = Check::of(module, &entry.function, &with_barriers);
        check.block(&entry.function.body, None, &mut found);
        check.returns(&entry.function.body, "`return` in an entry point", &mut found);
    }
    let mut findings: Vec<_> =
        found.into_iter().map(|(span, what)| format!("{}: {what}", source::place_of(text, span))).collect();
    findings.extend(uncommented(text));
    findings
}

/// Returns the number of barriers in the text.
pub(crate) fn barriers(text: &str) -> usize {
    text.lines().filter(|line| is_barrier(line)).count()
}

/// Returns the lines with a barrier that have a comment neither at their end nor on the line above.
fn uncommented(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let explains = |line: &str| line.trim_start().starts_with("//") && !line.starts_with(source::MARKER);
    let silent = |&at: &usize| is_barrier(lines[at]) && !lines[at].contains("//") && !explains(lines[at.max(1) - 1]);
    (0..lines.len())
        .filter(silent)
        .map(|at| {
            format!("{}: a barrier without a comment that says what it makes visible", source::place(text, at + 1))
        })
        .collect()
}

fn is_barrier(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    ["workgroupBarrier", "storageBarrier", "textureBarrier", "workgroupUniformLoad"].iter().any(|b| code.contains(b))
}

type Found = Vec<(Span, &'static str)>;

/// One function, and which of its values can differ between the invocations of a workgroup.
struct Check<'a> {
    module: &'a Module,
    function: &'a Function,
    with_barriers: &'a HashSet<Handle<Function>>,
    divergent: HashSet<Handle<Expression>>,
    divergent_locals: HashSet<Handle<LocalVariable>>,
}

impl<'a> Check<'a> {
    fn of(module: &'a Module, function: &'a Function, with_barriers: &'a HashSet<Handle<Function>>) -> Self {
        let (divergent, divergent_locals) = (HashSet::new(), HashSet::new());
        let mut check = Self { module, function, with_barriers, divergent, divergent_locals };
        loop {
            let before = (check.divergent.len(), check.divergent_locals.len());
            for (handle, expression) in function.expressions.iter() {
                if check.diverges(expression) {
                    check.divergent.insert(handle);
                }
            }
            check.stores(&function.body, false);
            if before == (check.divergent.len(), check.divergent_locals.len()) {
                return check;
            }
        }
    }

    /// Whether invocations of a workgroup can see different values of `expression`.
    fn diverges(&self, expression: &Expression) -> bool {
        let any = |operands: &[Handle<Expression>]| operands.iter().any(|operand| self.divergent.contains(operand));
        match *expression {
            Expression::Literal(_)
            | Expression::Constant(_)
            | Expression::Override(_)
            | Expression::ZeroValue(_)
            | Expression::GlobalVariable(_)
            | Expression::LocalVariable(_)
            | Expression::ArrayLength(_)
            | Expression::WorkGroupUniformLoadResult { .. } => false,
            Expression::FunctionArgument(index) => !matches!(
                self.function.arguments[index as usize].binding,
                Some(Binding::BuiltIn(BuiltIn::WorkGroupId | BuiltIn::NumWorkGroups))
            ),
            Expression::Compose { ref components, .. } => any(components),
            Expression::Access { base, index } => any(&[base, index]),
            Expression::AccessIndex { base, .. } => any(&[base]),
            Expression::Splat { value, .. } => any(&[value]),
            Expression::Swizzle { vector, .. } => any(&[vector]),
            Expression::Unary { expr, .. } | Expression::As { expr, .. } => any(&[expr]),
            Expression::Binary { left, right, .. } => any(&[left, right]),
            Expression::Select { condition, accept, reject } => any(&[condition, accept, reject]),
            Expression::Relational { argument, .. } => any(&[argument]),
            Expression::Math { arg, arg1, arg2, arg3, .. } => {
                any(&[arg]) || [arg1, arg2, arg3].iter().flatten().any(|operand| any(&[*operand]))
            }
            Expression::Load { pointer } => any(&[pointer]) || self.holds_divergent(pointer),
            _ => true,
        }
    }

    /// Whether the variable behind `pointer` can hold different values for the invocations of a workgroup.
    fn holds_divergent(&self, pointer: Handle<Expression>) -> bool {
        match *self.root(pointer) {
            Expression::LocalVariable(local) => self.divergent_locals.contains(&local),
            Expression::GlobalVariable(global) => match self.module.global_variables[global].space {
                AddressSpace::Uniform => false,
                AddressSpace::Storage { access } => access.contains(naga::StorageAccess::STORE),
                _ => true,
            },
            _ => true,
        }
    }

    fn root(&self, pointer: Handle<Expression>) -> &'a Expression {
        match &self.function.expressions[pointer] {
            Expression::Access { base, .. } | Expression::AccessIndex { base, .. } => self.root(*base),
            other => other,
        }
    }

    /// Marks the locals that `block` gives divergent values, or values at divergent times.
    fn stores(&mut self, block: &Block, divergent: bool) {
        for statement in block.iter() {
            match statement {
                Statement::Store { pointer, value }
                    if divergent || self.divergent.contains(pointer) || self.divergent.contains(value) =>
                {
                    self.mark(*pointer);
                }
                Statement::Call { arguments, .. } => arguments.iter().for_each(|argument| self.mark(*argument)),
                Statement::Block(inner) => self.stores(inner, divergent),
                Statement::If { condition, accept, reject } => {
                    let divergent = divergent || self.divergent.contains(condition);
                    self.stores(accept, divergent);
                    self.stores(reject, divergent);
                }
                Statement::Switch { selector, cases } => {
                    let divergent = divergent || self.divergent.contains(selector);
                    cases.iter().for_each(|case| self.stores(&case.body, divergent));
                }
                Statement::Loop { body, continuing, break_if } => {
                    let divergent = divergent || self.leaves_divergently(body, *break_if);
                    self.stores(body, divergent);
                    self.stores(continuing, divergent);
                }
                _ => {}
            }
        }
    }

    fn mark(&mut self, pointer: Handle<Expression>) {
        if let Expression::LocalVariable(local) = *self.root(pointer) {
            self.divergent_locals.insert(local);
        }
    }

    /// Whether invocations can leave a loop, or go on to its next turn, at different times.
    fn leaves_divergently(&self, body: &Block, break_if: Option<Handle<Expression>>) -> bool {
        break_if.is_some_and(|condition| self.divergent.contains(&condition)) || self.jumps(body, false, true)
    }

    /// Whether `block` jumps out of the current turn of its loop in divergent
    /// control flow. `breaks` says whether a `break` belongs to that loop.
    fn jumps(&self, block: &Block, divergent: bool, breaks: bool) -> bool {
        block.iter().any(|statement| match statement {
            Statement::Break => divergent && breaks,
            Statement::Continue => divergent,
            Statement::Block(inner) => self.jumps(inner, divergent, breaks),
            Statement::If { condition, accept, reject } => {
                let divergent = divergent || self.divergent.contains(condition);
                self.jumps(accept, divergent, breaks) || self.jumps(reject, divergent, breaks)
            }
            Statement::Switch { selector, cases } => {
                let divergent = divergent || self.divergent.contains(selector);
                cases.iter().any(|case| self.jumps(&case.body, divergent, false))
            }
            _ => false,
        })
    }

    /// Whether `block` holds a barrier, or calls a function that does.
    fn has_barrier(&self, block: &Block) -> bool {
        block.iter().any(|statement| match statement {
            Statement::Block(inner) => self.has_barrier(inner),
            Statement::If { accept, reject, .. } => self.has_barrier(accept) || self.has_barrier(reject),
            Statement::Switch { cases, .. } => cases.iter().any(|case| self.has_barrier(&case.body)),
            Statement::Loop { body, continuing, .. } => self.has_barrier(body) || self.has_barrier(continuing),
            other => self.is_barrier(other),
        })
    }

    fn is_barrier(&self, statement: &Statement) -> bool {
        match statement {
            Statement::ControlBarrier(_) | Statement::MemoryBarrier(_) | Statement::WorkGroupUniformLoad { .. } => true,
            Statement::Call { function, .. } => self.with_barriers.contains(function),
            _ => false,
        }
    }

    /// Finds the barriers in forbidden places. `wrong` is the error for the place of `block`.
    fn block(&self, block: &Block, wrong: Option<&'static str>, found: &mut Found) {
        for (statement, span) in block.span_iter() {
            match statement {
                Statement::Block(inner) => self.block(inner, wrong, found),
                Statement::If { accept, reject, .. } => {
                    let wrong = Some("a barrier in an `if`");
                    self.block(accept, wrong, found);
                    self.block(reject, wrong, found);
                }
                Statement::Switch { cases, .. } => {
                    cases.iter().for_each(|case| self.block(&case.body, Some("a barrier in a `switch`"), found));
                }
                Statement::Loop { body, continuing, break_if } => {
                    let here = self.leaves_divergently(body, *break_if);
                    let wrong =
                        wrong.or(here.then_some("a barrier in a loop that invocations leave at different times"));
                    self.block(body, wrong, found);
                    self.block(continuing, wrong, found);
                }
                other => {
                    if let (Some(wrong), true) = (wrong, self.is_barrier(other)) {
                        found.push((*span, wrong));
                    }
                }
            }
        }
    }

    /// Finds the returns in the source: those that naga adds at the end of a function
    /// have no span. The last statement of a function that returns a value is allowed.
    fn returns(&self, block: &Block, what: &'static str, found: &mut Found) {
        let tail = block.iter().count().wrapping_sub(1);
        for (at, (statement, span)) in block.span_iter().enumerate() {
            match statement {
                Statement::Return { value: Some(_) } if at == tail && std::ptr::eq(block, &self.function.body) => {}
                Statement::Return { .. } if span.is_defined() => found.push((*span, what)),
                Statement::Block(inner) => self.returns(inner, what, found),
                Statement::If { accept, reject, .. } => {
                    self.returns(accept, what, found);
                    self.returns(reject, what, found);
                }
                Statement::Switch { cases, .. } => cases.iter().for_each(|case| self.returns(&case.body, what, found)),
                Statement::Loop { body, continuing, .. } => {
                    self.returns(body, what, found);
                    self.returns(continuing, what, found);
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod planted {
    use super::*;

    /// Returns the findings of the lint in a kernel with `body`. Its line
    /// 1 is the line of `@compute`, so that a body of one line is line 2.
    fn findings(body: &str) -> Vec<String> {
        let text = format!(
            "// part: kernel/planted.wgsl\n@compute @workgroup_size(64) fn planted(@builtin(workgroup_id) group: vec3<u32>, \
             @builtin(local_invocation_index) lane: u32) {{\n{body}\n}}\nvar<workgroup> shared_sum: u32;\n\
             @group(0) @binding(0) var<uniform> size: u32;\nfn meet() {{\n// All see it.\nworkgroupBarrier();\n}}\n"
        );
        let module =
            naga::front::wgsl::parse_str(&text).unwrap_or_else(|error| panic!("{}", error.emit_to_string(&text)));
        lint(&text, &module)
    }

    #[track_caller]
    fn finds(body: &str, expected: &str) {
        assert_eq!(findings(body), [format!("shaders/kernel/planted.wgsl:{expected}")], "{body}");
    }

    #[track_caller]
    fn clean(body: &str) {
        assert_eq!(findings(body), [""; 0], "{body}");
    }

    #[test]
    fn a_barrier_in_an_if() {
        finds("if lane < 32u { workgroupBarrier(); } // why", "2: a barrier in an `if`");
        finds("if group.x < 32u { } else { storageBarrier(); } // why", "2: a barrier in an `if`");
        finds("loop { if lane < 9u { workgroupBarrier(); } break; } // why", "2: a barrier in an `if`");
        finds("if lane < 32u { meet(); }", "2: a barrier in an `if`");
    }

    #[test]
    fn a_barrier_in_a_switch() {
        finds("switch lane { case 1u: { workgroupBarrier(); } default: { } } // why", "2: a barrier in a `switch`");
    }

    #[test]
    fn a_return_in_an_entry_point() {
        finds("if lane > 32u { return; }\nworkgroupBarrier(); // why", "2: `return` in an entry point");
        finds("shared_sum = 1u; return;", "2: `return` in an entry point");
        clean("if lane > 32u { shared_sum = 1u; }");
    }

    #[test]
    fn a_barrier_in_a_loop_that_invocations_leave_at_different_times() {
        const WHAT: &str = "2: a barrier in a loop that invocations leave at different times";
        finds("for (var i = lane; i < 64u; i += 8u) { workgroupBarrier(); } // why", WHAT);
        finds("for (var i = 0u; i < lane; i++) { workgroupBarrier(); } // why", WHAT);
        finds("loop { workgroupBarrier(); continuing { break if shared_sum > 3u; } } // why", WHAT);
        finds("var i = 0u; if lane > 3u { i = 7u; } while i < 9u { i++; workgroupBarrier(); } // why", WHAT);
        finds("for (var i = 0u; i < 9u; i++) { if lane == i { continue; } workgroupBarrier(); } // why", WHAT);
        finds("for (var i = lane; i < 9u; i++) { for (var j = 0u; j < 2u; j++) { meet(); } }", WHAT);
    }

    #[test]
    fn a_barrier_in_a_loop_of_uniform_bounds_is_allowed() {
        clean("for (var i = 0u; i < size; i++) { workgroupBarrier(); } // why");
        clean("for (var i = group.x; i < 64u && i < size; i += 8u) { meet(); }");
        clean("for (var i = 0u; i < 9u; i++) { for (var j = lane; j < 2u; j++) { } meet(); }");
        clean("var i = 0u; while i < 9u { i++; if i == size { break; } meet(); }");
    }

    #[test]
    fn a_barrier_without_a_comment() {
        let what = "a barrier without a comment that says what it makes visible";
        finds("workgroupBarrier();", &format!("2: {what}"));
        finds("// about the line between\nshared_sum = 1u;\nstorageBarrier();", &format!("4: {what}"));
        clean("// Makes the sum visible to all.\nworkgroupBarrier();");
        clean("workgroupBarrier(); // makes the sum visible to all");
    }
}
