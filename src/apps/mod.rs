//! What each kind of app needs from its proxy, as pure rules over paths and header values.

pub mod engineio;
pub mod streamlit;
