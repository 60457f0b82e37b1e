//! Between values and the types of programs, by `serde`.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::msgpack::Fault;

use super::Value;

/// Deepest nesting that becomes a type: reading one recurses, by code that is
/// not ours.
const MAX_NESTING: usize = 128;

/// Why a value does not become the type, or the other way round. The messages
/// are complete: there is no source below them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// The value has not the shape that the type wants.
    #[error("the value does not fit: {0}")]
    Shape(rmp_serde::decode::Error),
    /// The type has a part that no value holds.
    #[error("no value holds this: {0}")]
    Type(rmp_serde::encode::Error),
    /// It became no sound value.
    #[error("no value holds this: {0}")]
    Fault(Fault),
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
        let encoded = rmp_serde::to_vec_named(thing).map_err(ConvertError::Type)?;
        Self::decode(&encoded).map_err(ConvertError::Fault)
    }

    /// The value as a type of the caller.
    ///
    /// # Errors
    /// A value that has not the type's shape, or is nested deeper than 128
    /// levels.
    pub fn to<T: DeserializeOwned>(&self) -> Result<T, ConvertError> {
        let encoded = self.to_bytes();
        let mut reader = rmp_serde::Deserializer::from_read_ref(&encoded);
        reader.set_max_depth(MAX_NESTING);
        T::deserialize(&mut reader).map_err(ConvertError::Shape)
    }
}
