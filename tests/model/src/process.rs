/// Where the execution of a release is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// It begins, or waits for its turn.
    TakeTurn,
    /// Its services are being changed.
    Update,
    /// The new image serves, and that is to be written.
    RecordCurrent,
    /// It ends with this verdict.
    End(&'static str),
    Over,
}

/// An execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Process {
    pub stage: Stage,
    pub redrives: u32,
    /// Nobody has aborted it, or somebody has redriven it since.
    pub lives: bool,
}

impl Process {
    pub(crate) const NEW: Self = Self {
        stage: Stage::TakeTurn,
        redrives: 0,
        lives: true,
    };

    /// It will do more.
    pub(crate) fn is_under_way(&self) -> bool {
        self.lives && self.stage != Stage::Over
    }
}
