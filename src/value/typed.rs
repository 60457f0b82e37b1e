//! Between values and the types of programs, by `serde`.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::msgpack::Fault;

use super::Value;

/// Why a value does not become the type, or the other way round.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// The value has not the shape that the type wants.
    #[error("the value does not fit: {0}")]
    Shape(#[from] rmp_serde::decode::Error),
    /// The type has a part that no value holds.
    #[error("no value holds this: {0}")]
    Type(#[from] rmp_serde::encode::Error),
    /// It became no sound value.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl Value {
    /// The value of anything that can be serialised. Structures become maps
    /// from field names.
    ///
    /// ```
    /// use moat::value::Value;
    ///
    /// let value = Value::from_serialize(&("lamp", 40))?;
    /// assert_eq!(value, Value::List(vec!["lamp".into(), 40.into()]));
    /// assert_eq!(value.to::<(String, u8)>()?, ("lamp".into(), 40));
    /// # Ok::<(), moat::value::ConvertError>(())
    /// ```
    ///
    /// # Errors
    /// Types that no value holds.
    pub fn from_serialize<T: Serialize + ?Sized>(thing: &T) -> Result<Self, ConvertError> {
        Ok(Self::decode(&rmp_serde::to_vec_named(thing)?)?)
    }

    /// The value as a type of the caller.
    ///
    /// # Errors
    /// A value that has not the type's shape.
    pub fn to<T: DeserializeOwned>(&self) -> Result<T, ConvertError> {
        Ok(rmp_serde::from_slice(&self.to_bytes())?)
    }
}
