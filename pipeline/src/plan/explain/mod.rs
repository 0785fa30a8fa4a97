//! tmp
/// tmp
pub struct Explain;
/// tmp
pub fn explain(_: &super::Graph) -> Explain { Explain }
impl Explain {
    /// tmp
    pub fn text(&self) -> String { String::new() }
    /// tmp
    pub fn json(&self) -> String { String::new() }
    /// tmp
    pub fn mermaid(&self) -> String { String::new() }
    /// tmp
    pub fn dot(&self) -> String { String::new() }
    /// tmp
    pub fn svg(&self) -> String { String::new() }
}
