//! Why a request is not answered: a code as HTTP has it, and a sentence.

/// Why a request is not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// The request cannot be used.
    #[error("{problem}")]
    BadRequest {
        /// What is wrong with it, by name.
        problem: String,
    },
    /// What is asked for does not exist.
    #[error("{problem}")]
    NotFound {
        /// What does not exist.
        problem: String,
    },
    /// Nothing has been looked at yet.
    #[error("no epoch has ended since this agent began to lead; ask again after one")]
    NoEpoch,
    /// The last snapshot has been put away for the next.
    #[error("the next epoch is under way; ask again")]
    BetweenEpochs,
    /// The server's `max_payload` is too small for any answer.
    #[error("the answer does not fit the server's max_payload: {limit} bytes are left for it")]
    TooLarge {
        /// Bytes for an answer.
        limit: usize,
    },
}

impl ApiError {
    pub(super) fn bad(problem: impl Into<String>) -> Self {
        Self::BadRequest { problem: problem.into() }
    }

    pub(super) fn not_found(problem: impl Into<String>) -> Self {
        Self::NotFound { problem: problem.into() }
    }

    /// The code of the header `Nats-Service-Error-Code`.
    pub const fn code(&self) -> u16 {
        match self {
            Self::BadRequest { .. } => 400,
            Self::NotFound { .. } => 404,
            Self::TooLarge { .. } => 500,
            Self::NoEpoch | Self::BetweenEpochs => 503,
        }
    }
}
