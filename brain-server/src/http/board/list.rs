//! `/`: every project.

use super::{
    Board, assets, html, part,
    pulse::Tick,
    row::Row,
    stream::{self, Left, Reader},
    view::Banner,
};
use askama::Template;
use axum::{
    extract::{Query, State},
    response::Response,
};
use brain_core::id::ProjectId;
use serde::{Deserialize, Serialize};
use std::{cmp::Reverse, collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{
    sync::broadcast::error::RecvError,
    time::{Instant, sleep_until},
};

/// Projects on a page: the first page stays well under 100 KB.
const PAGE: usize = 100;
/// How often a list is made anew whose order or choice may change with any project.
const ANEW: Duration = Duration::from_secs(1);

/// What of the projects is shown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct View {
    q: String,
    show: Show,
    sort: Sort,
    page: usize,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Show {
    #[default]
    All,
    Attention,
    Deploying,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Sort {
    #[default]
    Name,
    Attention,
    Recent,
}

impl View {
    /// Whether no project can change who else is on the page.
    fn is_fixed(&self) -> bool {
        self.q.is_empty() && self.show == Show::All && self.sort == Sort::Name
    }

    fn chooses(&self, row: &Row) -> bool {
        let shown = match self.show {
            Show::All => true,
            Show::Attention => row.attention > 0,
            Show::Deploying => row.deploying,
        };
        shown && (self.q.is_empty() || row.searched.contains(&self.q.to_lowercase()))
    }

    /// The rows of its page, and how many fit in all.
    /// A page behind the last one is the last one.
    fn of(&self, rows: &BTreeMap<ProjectId, Arc<Row>>) -> (Vec<(ProjectId, Arc<Row>)>, usize) {
        let owned = |(id, row): (&ProjectId, &Arc<Row>)| (id.clone(), Arc::clone(row));
        if self.is_fixed() {
            let skipped = self.page_of(rows.len()) * PAGE;
            return (rows.iter().skip(skipped).take(PAGE).map(owned).collect(), rows.len());
        }
        let mut chosen: Vec<_> = rows.iter().filter(|(_, row)| self.chooses(row)).collect();
        match self.sort {
            Sort::Name => {}
            Sort::Attention => chosen.sort_by_key(|(_, row)| Reverse((row.attention, row.changed))),
            Sort::Recent => chosen.sort_by_key(|(_, row)| Reverse(row.changed)),
        }
        let found = chosen.len();
        let skipped = self.page_of(found) * PAGE;
        (chosen.into_iter().skip(skipped).take(PAGE).map(owned).collect(), found)
    }

    /// Its page, of so many projects.
    fn page_of(&self, found: usize) -> usize {
        self.page.min(found.saturating_sub(1) / PAGE)
    }

    fn query(&self) -> String {
        let Self { q, show, sort, page } = self;
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        if !q.is_empty() {
            query.append_pair("q", q);
        }
        let word = |value: serde_json::Result<serde_json::Value>| {
            value.ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
        };
        if *show != Show::All {
            query.append_pair("show", &word(serde_json::to_value(show)));
        }
        if *sort != Sort::Name {
            query.append_pair("sort", &word(serde_json::to_value(sort)));
        }
        if *page > 0 {
            query.append_pair("page", &page.to_string());
        }
        match query.finish() {
            query if query.is_empty() => query,
            query => format!("?{query}"),
        }
    }
}

#[derive(Template)]
#[template(path = "board.html")]
struct BoardPage<'a> {
    assets: &'static str,
    view: &'a View,
    stream: String,
    list: String,
}

#[derive(Template)]
#[template(path = "list.html")]
struct List<'a> {
    banner: Option<Banner>,
    acts: bool,
    filtered: bool,
    found: usize,
    first: usize,
    last: usize,
    total_on_page: usize,
    agents: String,
    rows: Vec<&'a str>,
    back: Option<String>,
    next: Option<String>,
}

pub(super) async fn page(State(board): State<Arc<Board>>, Query(view): Query<View>) -> Response {
    let (list, _) = list(&board, &view);
    html(&BoardPage { assets: assets::version(), view: &view, stream: format!("/-/stream{}", view.query()), list })
}

/// The list, and who is on it.
fn list(board: &Board, view: &View) -> (String, Vec<ProjectId>) {
    let (rows, found, agents) = board.rows(|rows, agents| {
        let (chosen, found) = view.of(rows);
        (chosen, found, agents.to_owned())
    });
    let page = view.page_of(found);
    let skipped = page * PAGE;
    let turned = |page: usize| format!("/{}", View { page, ..view.clone() }.query());
    let list = List {
        banner: board.banner(),
        acts: board.acts,
        filtered: !view.is_fixed(),
        found,
        first: skipped + 1,
        last: skipped + rows.len(),
        total_on_page: rows.len(),
        agents,
        rows: rows.iter().map(|(_, row)| row.html.as_str()).collect(),
        back: page.checked_sub(1).map(turned),
        next: (skipped + rows.len() < found).then(|| turned(page + 1)),
    };
    (part(&list), rows.iter().map(|(id, _)| id.clone()).collect())
}

pub(super) async fn stream(State(board): State<Arc<Board>>, Query(view): Query<View>) -> Response {
    let following = Arc::clone(&board);
    stream::stream(&board, async move |reader| follow(&following, &view, &reader).await)
}

async fn follow(board: &Board, view: &View, reader: &Reader) -> Result<(), Left> {
    let mut ticks = board.ticks();
    loop {
        let made = Instant::now();
        let (html, ids) = list(board, view);
        reader.send(html).await?;
        // Whether the list has to be made anew. What stands on it goes on to be kept current until then.
        let mut anew = false;
        loop {
            let tick = tokio::select! {
                tick = ticks.recv() => tick,
                () = sleep_until(made + ANEW), if anew => break,
            };
            match tick {
                Ok(tick) => {
                    anew |= tick.around || (!view.is_fixed() && !tick.rows.is_empty());
                    if let Some(news) = news_of(&tick, &ids) {
                        reader.send(news).await?;
                    }
                }
                Err(RecvError::Lagged(_)) => anew = true,
                Err(RecvError::Closed) => return Ok(()),
            }
        }
    }
}

/// What of a tick is on the page, each to be put where it stands.
fn news_of(tick: &Tick, ids: &[ProjectId]) -> Option<String> {
    let mut news = String::new();
    if let Some(agents) = &tick.agents {
        news += &format!("<hx-partial hx-target=\"#agents\" hx-swap=\"innerHTML\">{agents}</hx-partial>");
    }
    for (id, row) in tick.rows.iter().filter(|(id, _)| ids.contains(id)) {
        news += &format!("<hx-partial hx-target=\"#p-{id}\" hx-swap=\"outerMorph\">{}</hx-partial>", row.html);
    }
    (!news.is_empty()).then_some(news)
}

#[cfg(test)]
mod tests {
    use super::*;
    use brain_core::time::Timestamp;

    fn rows() -> BTreeMap<ProjectId, Arc<Row>> {
        let row = |(index, id): (usize, &str)| {
            let row = Row {
                html: id.to_owned(),
                searched: format!("{id} flow/{id}"),
                deploying: id == "b",
                attention: usize::from(id == "c"),
                changed: Timestamp(i64::try_from(index).unwrap()),
            };
            (ProjectId::parse(id).unwrap(), Arc::new(row))
        };
        ["a", "b", "c"].into_iter().enumerate().map(row).collect()
    }

    #[test]
    fn only_what_is_on_the_page_is_sent_to_it() {
        let ids = [ProjectId::parse("a").unwrap()];
        let of = |agents: Option<&str>| {
            let tick = Tick { rows: rows(), agents: agents.map(str::to_owned), around: false };
            news_of(&tick, &ids).unwrap()
        };
        let row = "<hx-partial hx-target=\"#p-a\" hx-swap=\"outerMorph\">a</hx-partial>";
        assert_eq!(of(None), row);
        let agents = "<hx-partial hx-target=\"#agents\" hx-swap=\"innerHTML\">1 watcher</hx-partial>";
        assert_eq!(of(Some("1 watcher")), format!("{agents}{row}"));
        assert_eq!(news_of(&Tick { rows: rows(), ..Tick::default() }, &[]), None);
    }

    #[test]
    fn a_view_chooses_and_sorts_and_reads_back_from_its_address() {
        let shown = |view: &View| {
            let (chosen, found) = view.of(&rows());
            (chosen.iter().map(|(id, _)| id.to_string()).collect::<Vec<_>>().join(""), found)
        };
        let all = View::default();
        assert_eq!((shown(&all), all.query().as_str()), (("abc".into(), 3), ""));
        let recent = View { sort: Sort::Recent, ..View::default() };
        assert_eq!((shown(&recent), recent.query().as_str()), (("cba".into(), 3), "?sort=recent"));
        let deploying = View { show: Show::Deploying, ..View::default() };
        assert_eq!(shown(&deploying), ("b".into(), 1));
        let attention = View { sort: Sort::Attention, ..View::default() };
        assert_eq!(shown(&attention).0, "cba");
        let searched = View { q: "FLOW/C".into(), ..View::default() };
        assert_eq!((shown(&searched), searched.query().as_str()), (("c".into(), 1), "?q=FLOW%2FC"));
        assert_eq!(shown(&View { page: usize::MAX, ..View::default() }).0, "abc", "the last page");
    }
}
