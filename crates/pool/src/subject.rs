//! The two kinds of rows.

use serde::{Deserialize, Serialize};

use crate::cause::codes;

codes! {
    /// The kind of a row.
    pub enum Subject {
        /// An instance.
        Instance = "instance",
        /// A stage.
        Stage = "stage",
    }
}
