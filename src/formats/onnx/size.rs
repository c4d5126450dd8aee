//! Whole numbers that may depend on the sizes of a call, for the shape arithmetic of a graph.
//!
//! Knows no graph. A variable is the length of an input's axis that the file leaves open.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// The values of variables, as far as the nodes of a graph have shown.
#[derive(Default)]
pub(super) struct Known(HashMap<usize, Size>);

impl Known {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Records that `a` and `b` are the same length, and returns it; `None` if that is impossible.
    pub(super) fn equal(&mut self, a: &Size, b: &Size) -> Option<Size> {
        let (a, b) = (a.clone().with(self), b.clone().with(self));
        if a == b {
            return Some(a);
        }
        for (lone, other) in [(&b, &a), (&a, &b)] {
            if let Size { factor: 1, variables, offset: 0 } = lone
                && let [variable] = &variables[..]
                && !other.variables.contains(variable)
            {
                self.0.insert(variable.id, other.clone());
                return Some(other.clone());
            }
        }
        None
    }
}

/// The length of an input's axis that the file leaves open.
#[derive(Clone, Debug)]
struct Variable {
    id: usize,
    /// Its name in the file or its place, for errors.
    name: Arc<str>,
}

impl PartialEq for Variable {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Variable {}

impl PartialOrd for Variable {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Variable {
    fn cmp(&self, other: &Self) -> Ordering {
        self.id.cmp(&other.id)
    }
}

/// `factor · v₁ · v₂ … + offset`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Size {
    factor: i64,
    /// Sorted; empty if the number is a constant, which is then the `offset`.
    variables: Vec<Variable>,
    offset: i64,
}

/// The most variables in a product. No shape has more.
const MAX_VARIABLES: usize = 8;

impl Size {
    /// Creates a constant.
    pub(super) fn of(value: i64) -> Self {
        Self { factor: 0, variables: Vec::new(), offset: value }
    }

    /// Creates a constant from a length.
    pub(super) fn len(length: usize) -> Self {
        Self::of(i64::try_from(length).unwrap_or(i64::MAX))
    }

    /// Creates the variable `id`, which errors call `name`.
    pub(super) fn variable(id: usize, name: &str) -> Self {
        Self { factor: 1, variables: vec![Variable { id, name: name.into() }], offset: 0 }
    }

    /// Returns the value, if it is a constant.
    pub(super) fn value(&self) -> Option<i64> {
        self.variables.is_empty().then_some(self.offset)
    }

    pub(super) fn is(&self, value: i64) -> bool {
        self.value() == Some(value)
    }

    /// Replaces variables whose values are known.
    #[must_use]
    pub(super) fn with(mut self, known: &Known) -> Self {
        // The value of a variable may contain known variables too, but never the variable itself.
        while let Some((place, other)) =
            self.variables.iter().enumerate().find_map(|(place, variable)| Some((place, known.0.get(&variable.id)?)))
        {
            let mut rest = self.variables.clone();
            rest.remove(place);
            let rest = if rest.is_empty() { Self::of(self.factor) } else { Self::tidy(self.factor, rest, 0) };
            let Some(whole) = rest.times(other).and_then(|product| product.plus(&Self::of(self.offset))) else {
                return self;
            };
            self = whole;
        }
        self
    }

    fn tidy(factor: i64, variables: Vec<Variable>, offset: i64) -> Self {
        if factor == 0 { Self::of(offset) } else { Self { factor, variables, offset } }
    }

    pub(super) fn plus(&self, other: &Self) -> Option<Self> {
        let offset = self.offset.checked_add(other.offset)?;
        match (self.value(), other.value()) {
            (Some(_), _) => Some(Self { offset, ..other.clone() }),
            (_, Some(_)) => Some(Self { offset, ..self.clone() }),
            _ if self.variables == other.variables => {
                Some(Self::tidy(self.factor.checked_add(other.factor)?, self.variables.clone(), offset))
            }
            _ => None,
        }
    }

    pub(super) fn minus(&self, other: &Self) -> Option<Self> {
        self.plus(&other.times(&Self::of(-1))?)
    }

    pub(super) fn times(&self, other: &Self) -> Option<Self> {
        match (self.value(), other.value()) {
            (Some(n), _) => {
                let (factor, offset) = (other.factor.checked_mul(n)?, other.offset.checked_mul(n)?);
                Some(Self::tidy(factor, other.variables.clone(), offset))
            }
            (_, Some(_)) => other.times(self),
            _ if self.offset == 0 && other.offset == 0 => {
                let mut variables = [self.variables.as_slice(), &other.variables].concat();
                variables.sort_unstable();
                (variables.len() <= MAX_VARIABLES).then_some(Self {
                    factor: self.factor.checked_mul(other.factor)?,
                    variables,
                    offset: 0,
                })
            }
            _ => None,
        }
    }

    /// Returns `self / other` if the division is exact whatever the
    /// variables are. The quotient of two constants is rounded toward zero.
    pub(super) fn over(&self, other: &Self) -> Option<Self> {
        if let (Some(a), Some(b)) = (self.value(), other.value()) {
            return a.checked_div(b).map(Self::of);
        }
        self.exactly_over(other)
    }

    /// Returns `self / other` if the division is exact whatever the variables are.
    pub(super) fn exactly_over(&self, other: &Self) -> Option<Self> {
        let divide = |a: i64, b: i64| (b != 0 && a.checked_rem(b)? == 0).then(|| a / b);
        if let Some(n) = other.value() {
            return Some(Self::tidy(divide(self.factor, n)?, self.variables.clone(), divide(self.offset, n)?));
        }
        if self.offset != 0 || other.offset != 0 {
            return None;
        }
        let mut variables = self.variables.clone();
        for variable in &other.variables {
            variables.remove(variables.iter().position(|v| v == variable)?);
        }
        let factor = divide(self.factor, other.factor)?;
        Some(if variables.is_empty() { Self::of(factor) } else { Self::tidy(factor, variables, 0) })
    }

    /// Returns the product of `sizes`.
    pub(super) fn product<'a>(sizes: impl IntoIterator<Item = &'a Self>) -> Option<Self> {
        sizes.into_iter().try_fold(Self::of(1), |product, size| product.times(size))
    }

    /// Whether the two are equal for all sizes of a call
    /// (`Some(true)`), for none (`Some(false)`), or for some (`None`).
    pub(super) fn equals(&self, other: &Self) -> Option<bool> {
        match self.minus(other)?.value() {
            Some(difference) => Some(difference == 0),
            // A length is never negative.
            None => [(self, other), (other, self)]
                .iter()
                .any(|(length, n)| length.factor > 0 && length.offset >= 0 && n.value().is_some_and(|n| n < 0))
                .then_some(false),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { factor, variables, offset } = self;
        if variables.is_empty() {
            return write!(f, "{offset}");
        }
        if *factor != 1 {
            write!(f, "{factor}·")?;
        }
        for (i, variable) in variables.iter().enumerate() {
            write!(f, "{}{}", if i > 0 { "·" } else { "" }, variable.name)?;
        }
        if *offset != 0 {
            write!(f, "{offset:+}")?;
        }
        Ok(())
    }
}

/// Returns sizes as a shape: `[batch, 7, 4]`.
pub(super) fn shape_text<'a>(sizes: impl IntoIterator<Item = &'a Size>) -> String {
    format!("[{}]", sizes.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_a_call_are_computed_with_before_they_are_known() {
        let (batch, time, four) = (Size::variable(0, "b"), Size::variable(1, "t"), Size::of(4));
        let all = Size::product([&batch, &time, &four]).expect("a product");
        assert_eq!(all.to_string(), "4·b·t");
        assert_eq!(all.exactly_over(&time), batch.times(&four));
        assert_eq!(all.exactly_over(&all).and_then(|one| one.value()), Some(1));
        assert_eq!(time.exactly_over(&batch), None);
        let last = time.minus(&Size::of(1)).expect("a difference");
        assert_eq!(last.to_string(), "t-1");
        assert_eq!(last.plus(&Size::of(1)).as_ref(), Some(&time));
        assert_eq!(time.minus(&time).and_then(|zero| zero.value()), Some(0));
        assert_eq!(time.equals(&Size::of(-1)), Some(false));
        assert_eq!(time.equals(&Size::of(1)), None);
        assert_eq!(time.equals(&batch), None);
        assert_eq!(Size::of(i64::MAX).times(&four), None);
        assert_eq!(Size::of(i64::MIN).over(&Size::of(-1)), None);
        assert_eq!(Size::of(7).over(&Size::of(0)), None);
    }
}
