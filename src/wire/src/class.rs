//! How much a series matters.

use core::fmt;

use serde::{Deserialize, Serialize};

/// The class of a series. The order is that in which they are sent when there is not room for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub enum Class {
    /// What a person is woken for.
    Critical = 0,
    /// What a person looks at to understand.
    Normal = 1,
    /// What only an expert asks for, afterwards.
    Bulk = 2,
}

/// How many classes there are.
pub const CLASS_COUNT: usize = 3;

/// A class' number is not one of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownClass(pub u8);

impl Class {
    /// Every class, most important first.
    pub const ALL: [Class; CLASS_COUNT] = [Class::Critical, Class::Normal, Class::Bulk];

    /// The class' place in tables of [`CLASS_COUNT`].
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl From<Class> for u8 {
    fn from(class: Class) -> u8 {
        class as u8
    }
}

impl TryFrom<u8> for Class {
    type Error = UnknownClass;

    fn try_from(number: u8) -> Result<Class, UnknownClass> {
        Class::ALL.get(usize::from(number)).copied().ok_or(UnknownClass(number))
    }
}

impl fmt::Display for UnknownClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "class {} is not known to this version", self.0)
    }
}
