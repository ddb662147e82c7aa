//! The local AWS of all tests of this binary, which records the calls of ECS.

use local_aws::client::LocalAws;
use tokio::sync::OnceCell;

use crate::support::Recorded;

static RUNNING: OnceCell<Recorded> = OnceCell::const_new();

pub(crate) async fn shared() -> &'static LocalAws {
    &RUNNING.get_or_init(|| Recorded::start(200.0)).await.aws
}

/// That local AWS, where a test has asked for it.
pub(crate) fn recorded() -> Option<&'static Recorded> {
    RUNNING.get()
}
