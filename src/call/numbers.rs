//! The arrays of an input: owned or borrowed, of the types that a model computes with or of others.
//!
//! f32 features, i64 tokens and bool masks are kept as they are: an owned array moves in, a borrowed one stays in
//! place. Other types are converted once. Knows arrays; knows no model.

use ndarray::{ArcArray, Array, ArrayBase, ArrayView, Data, Dimension, IxDyn};

/// The numbers of one array of an input.
#[derive(Clone, Debug)]
pub enum Numbers<'a, A> {
    /// An array of the input's own, which its clones share.
    Owned(ArcArray<A, IxDyn>),
    /// A view of the user's array.
    Borrowed(ArrayView<'a, A, IxDyn>),
}

impl<A> Numbers<'_, A> {
    /// Makes an array without elements.
    pub(super) fn none() -> Self {
        Self::Borrowed(ArrayView::from_shape(IxDyn(&[0]), &[]).expect("no element"))
    }

    /// Returns a view of the numbers.
    pub(crate) fn view(&self) -> ArrayView<'_, A, IxDyn> {
        match self {
            Self::Owned(array) => array.view(),
            Self::Borrowed(view) => view.view(),
        }
    }

    /// Returns the length of each axis.
    pub(super) fn shape(&self) -> &[usize] {
        match self {
            Self::Owned(array) => array.shape(),
            Self::Borrowed(view) => view.shape(),
        }
    }
}

impl<A: Clone> Numbers<'_, A> {
    /// Copies a view, so that nothing is borrowed.
    pub(super) fn into_owned<'b>(self) -> Numbers<'b, A> {
        Numbers::Owned(match self {
            Self::Owned(array) => array,
            Self::Borrowed(view) => view.to_shared(),
        })
    }
}

/// Types that can be given as an array of `A`: see [`Input`](crate::Input).
///
/// This trait cannot be implemented elsewhere.
#[diagnostic::on_unimplemented(
    message = "an array of `{A}` cannot be given as `{Self}`",
    label = "expected an array, a view or a slice",
    note = "an owned array holds `{A}`; a borrowed one (`&array`, `array.view()`, `&vec`) may hold other numbers, \
            which are converted"
)]
pub trait IntoNumbers<'a, A: Clone> {
    /// Converts into numbers, or says why they do not fill their shape.
    #[doc(hidden)]
    fn into_numbers(self) -> Result<Numbers<'a, A>, String>;
}

/// A number that can be given as an `A`:
///
/// - for features (`f32`), an f32, an f64 (rounded; infinite if it is too large), or an integer of at most 16 bits;
/// - for tokens and lengths (`i64`), any integer of at most 64 bits;
/// - for masks, a `bool`.
///
/// This trait cannot be implemented elsewhere.
#[diagnostic::on_unimplemented(message = "a number of type `{Self}` cannot be given as `{A}`")]
pub trait Element<A: Clone>: Copy {
    /// Converts the number.
    #[doc(hidden)]
    fn element(self) -> A;

    /// Converts a view.
    #[doc(hidden)]
    fn numbers(view: ArrayView<'_, Self, IxDyn>) -> Numbers<'_, A> {
        Numbers::Owned(view.mapv(Self::element).into_shared())
    }
}

/// Types that are kept as they are.
macro_rules! kept {
    ($($of:ty),*) => {$(
        impl Element<$of> for $of {
            fn element(self) -> $of {
                self
            }

            fn numbers(view: ArrayView<'_, Self, IxDyn>) -> Numbers<'_, $of> {
                Numbers::Borrowed(view)
            }
        }
    )*};
}

/// Types that are converted, each by a function.
macro_rules! converted {
    ($to:ty: $($from:ty => $by:expr),* $(,)?) => {$(
        impl Element<$to> for $from {
            fn element(self) -> $to {
                ($by)(self)
            }
        }
    )*};
}

kept!(f32, i64, bool);
converted!(f32: f64 => rounded, i8 => f32::from, u8 => f32::from, i16 => f32::from, u16 => f32::from);
converted!(i64: i8 => i64::from, u8 => i64::from, i16 => i64::from, u16 => i64::from, i32 => i64::from, u32 => i64::from);
converted!(i64: u64 => saturated, isize => saturated, usize => saturated);

impl<A: Clone, B: Element<A>> Element<A> for &B {
    fn element(self) -> A {
        (*self).element()
    }
}

#[expect(clippy::cast_possible_truncation, reason = "rounded once, as is meant")]
fn rounded(x: f64) -> f32 {
    x as f32
}

/// Saturates: a larger index exceeds any vocabulary or sequence, and is refused as such.
fn saturated(index: impl TryInto<i64>) -> i64 {
    index.try_into().unwrap_or(i64::MAX)
}

impl<'a, A: Clone, D: Dimension> IntoNumbers<'a, A> for Array<A, D> {
    fn into_numbers(self) -> Result<Numbers<'a, A>, String> {
        Ok(Numbers::Owned(self.into_dyn().into_shared()))
    }
}

impl<'a, A: Clone, D: Dimension> IntoNumbers<'a, A> for ArcArray<A, D> {
    fn into_numbers(self) -> Result<Numbers<'a, A>, String> {
        Ok(Numbers::Owned(self.into_dyn()))
    }
}

impl<'a, A: Clone, B: Element<A>, D: Dimension> IntoNumbers<'a, A> for ArrayView<'a, B, D> {
    fn into_numbers(self) -> Result<Numbers<'a, A>, String> {
        Ok(B::numbers(self.into_dyn()))
    }
}

impl<'a, A: Clone, B: Element<A>, S: Data<Elem = B>, D: Dimension> IntoNumbers<'a, A> for &'a ArrayBase<S, D> {
    fn into_numbers(self) -> Result<Numbers<'a, A>, String> {
        self.view().into_numbers()
    }
}

impl<'a, A: Clone> IntoNumbers<'a, A> for Vec<A> {
    fn into_numbers(self) -> Result<Numbers<'a, A>, String> {
        Array::from(self).into_numbers()
    }
}

impl<'a, A: Clone, B: Element<A>> IntoNumbers<'a, A> for &'a [B] {
    fn into_numbers(self) -> Result<Numbers<'a, A>, String> {
        ArrayView::from(self).into_numbers()
    }
}

impl<'a, A: Clone, B: Element<A>> IntoNumbers<'a, A> for &'a Vec<B> {
    fn into_numbers(self) -> Result<Numbers<'a, A>, String> {
        self.as_slice().into_numbers()
    }
}

impl<'a, A: Clone, B: Element<A>, const N: usize> IntoNumbers<'a, A> for &'a [B; N] {
    fn into_numbers(self) -> Result<Numbers<'a, A>, String> {
        self.as_slice().into_numbers()
    }
}

impl<'a, A: Clone, const R: usize> IntoNumbers<'a, A> for (Vec<A>, [usize; R]) {
    fn into_numbers(self) -> Result<Numbers<'a, A>, String> {
        let (numbers, shape) = self;
        fills(numbers.len(), &shape)?;
        let array = Array::from_shape_vec(IxDyn(&shape), numbers).map_err(|e| e.to_string())?;
        array.into_numbers()
    }
}

impl<'a, A: Clone, B: Element<A>, const R: usize> IntoNumbers<'a, A> for (&'a [B], [usize; R]) {
    fn into_numbers(self) -> Result<Numbers<'a, A>, String> {
        let (numbers, shape) = self;
        fills(numbers.len(), &shape)?;
        ArrayView::from_shape(IxDyn(&shape), numbers).map_err(|e| e.to_string())?.into_numbers()
    }
}

impl<'a, A: Clone, B: Element<A>, const R: usize> IntoNumbers<'a, A> for (&'a Vec<B>, [usize; R]) {
    fn into_numbers(self) -> Result<Numbers<'a, A>, String> {
        (self.0.as_slice(), self.1).into_numbers()
    }
}

/// Checks that `count` numbers fill an array of this shape.
fn fills(count: usize, shape: &[usize]) -> Result<(), String> {
    match shape.iter().try_fold(1_usize, |product, &length| product.checked_mul(length)) {
        Some(wanted) if wanted == count => Ok(()),
        Some(wanted) => Err(format!("expected {wanted} numbers for the shape {shape:?}, got {count}")),
        None => Err(format!("expected a shape that memory can hold, got {shape:?}")),
    }
}
