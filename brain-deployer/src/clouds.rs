//! One set of AWS clients for each region, made when it is first needed.

use crate::{aws::Aws, cloud::Cloud};
use std::{collections::HashMap, sync::Arc};
use tokio::sync::Mutex;

/// The clouds by region.
#[derive(Default)]
pub(crate) struct Clouds(Mutex<HashMap<String, Arc<Aws>>>);

impl Clouds {
    /// The cloud of a region.
    pub(crate) async fn get(&self, region: &str) -> Arc<dyn Cloud> {
        let mut clouds = self.0.lock().await;
        if let Some(cloud) = clouds.get(region) {
            return Arc::clone(cloud) as Arc<dyn Cloud>;
        }
        let cloud = Arc::new(Aws::connect(region).await);
        clouds.insert(region.to_owned(), Arc::clone(&cloud));
        cloud
    }
}
