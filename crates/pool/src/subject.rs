//! The two kinds of rows.

use serde::{Deserialize, Serialize};

use crate::cause::codes;

codes! {
    /// What a row is about, or a change of one.
    pub enum Subject {
        /// An instance.
        Instance = "instance",
        /// A stage.
        Stage = "stage",
    }
}
