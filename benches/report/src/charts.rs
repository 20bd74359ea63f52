//! Charts of the document, as SVG files.

use std::ops::Range;
use std::path::Path;

use anyhow::{Context as _, anyhow};
use plotters::coord::ranged1d::ValueFormatter;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

use super::servers::{FLOOR, OURS, OURS_STREAMED, SERVERS};

/// A line, or a bar, of one server: its name, and its value at each label.
pub(crate) type Series = (&'static str, Vec<Option<f64>>);

/// What a chart shows.
#[derive(Debug)]
pub(crate) struct Chart {
    /// Above it.
    pub(crate) title: String,
    /// Below it: what the labels are.
    pub(crate) across: String,
    /// Beside it: what the values are.
    pub(crate) up: String,
    /// The places along the horizontal axis.
    pub(crate) labels: Vec<String>,
    /// In the order of the legend.
    pub(crate) series: Vec<Series>,
    /// Where the vertical axis of lines begins.
    pub(crate) bottom: f64,
    /// The largest value that is shown, if not the largest there is: a line that goes higher ends.
    pub(crate) top: Option<f64>,
}

impl Chart {
    /// Whether there is anything to draw.
    fn is_empty(&self) -> bool {
        self.series.iter().all(|(_, values)| values.iter().all(Option::is_none))
    }

    /// The largest value, with some room above it.
    fn highest(&self) -> f64 {
        let values = self.series.iter().flat_map(|(_, values)| values).filter_map(|value| *value);
        let highest = values.fold(0.0, f64::max) * 1.08;
        self.top.map_or(highest, |top| highest.min(top))
    }

    /// Draws lines into a file, and tells whether there was anything to draw.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(crate) fn lines(&self, file: &Path) -> anyhow::Result<bool> {
        if self.is_empty() {
            return Ok(false);
        }
        let across = -0.2..self.labels.len() as f64 - 0.8;
        draw(file, &self.title, |area| {
            let mut chart = ChartBuilder::on(area)
                .margin(16)
                .x_label_area_size(44)
                .y_label_area_size(70)
                .build_cartesian_2d(across, linear(self.bottom..self.highest()))?;
            self.axes(&mut chart, &self.labels, 14)?;
            for (server, values) in &self.series {
                let style = style(server);
                let shown = |value: &Option<f64>| value.is_some_and(|value| value <= self.highest());
                let places: Vec<(f64, Option<f64>)> =
                    values.iter().enumerate().map(|(place, value)| (place as f64, *value)).collect();
                for run in places.split(|(_, value)| !shown(value)) {
                    let points = run.iter().filter_map(|(place, value)| Some((*place, (*value)?)));
                    chart.draw_series(LineSeries::new(points.clone(), style))?;
                    chart.draw_series(points.map(|point| Circle::new(point, 3, style.filled())))?;
                }
                // A series of its own for the legend, which names each server once.
                chart
                    .draw_series(LineSeries::new(None, style))?
                    .label(*server)
                    .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], style));
            }
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::UpperLeft)
                .label_font((FONT, 14))
                .background_style(WHITE.mix(0.8))
                .border_style(GRID)
                .draw()?;
            Ok(())
        })?;
        Ok(true)
    }

    /// Draws a bar for each series, of its first value, on a logarithmic scale; tells whether there
    /// was anything.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(crate) fn bars(&self, file: &Path) -> anyhow::Result<bool> {
        if self.is_empty() {
            return Ok(false);
        }
        let bars: Vec<(&str, f64)> = self
            .series
            .iter()
            .filter_map(|(server, values)| Some((*server, values.first().copied().flatten()?.max(1.0))))
            .collect();
        let names: Vec<String> = bars.iter().map(|(server, _)| (*server).to_owned()).collect();
        draw(file, &self.title, |area| {
            let mut chart = ChartBuilder::on(area)
                .margin(16)
                .x_label_area_size(44)
                .y_label_area_size(80)
                .build_cartesian_2d(-0.5..bars.len() as f64 - 0.5, (1.0..self.highest() * 2.0).log_scale())?;
            self.axes(&mut chart, &names, 13)?;
            chart.draw_series(bars.iter().enumerate().map(|(place, (server, value))| {
                let place = place as f64;
                Rectangle::new([(place - 0.35, 1.0), (place + 0.35, *value)], style(server).filled())
            }))?;
            Ok(())
        })?;
        Ok(true)
    }

    /// Draws the axes and the lines behind what is shown; `labels` stand along the horizontal one,
    /// in letters of this size.
    fn axes<Y: Ranged<ValueType = f64> + ValueFormatter<f64>>(
        &self,
        chart: &mut ChartContext<'_, SVGBackend<'_>, Cartesian2d<RangedCoordf64, Y>>,
        labels: &[String],
        letters: u32,
    ) -> Result<(), DrawError> {
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(WHITE)
            .bold_line_style(GRID)
            .x_labels(labels.len() * 2)
            .x_label_formatter(&|place| label(labels, *place))
            .x_desc(self.across.as_str())
            .y_desc(self.up.as_str())
            .y_label_formatter(&|value| short(*value))
            .label_style((FONT, letters))
            .draw()?;
        Ok(())
    }
}

const FONT: &str = "sans-serif";
const GRID: RGBColor = RGBColor(221, 221, 221);
const SIZE: (u32, u32) = (1000, 480);

/// Writes an SVG with a title; the body draws below it.
fn draw(
    file: &Path,
    title: &str,
    body: impl FnOnce(&DrawingArea<SVGBackend<'_>, plotters::coord::Shift>) -> Result<(), DrawError>,
) -> anyhow::Result<()> {
    std::fs::create_dir_all(file.parent().context("a file lies in a folder")?)?;
    let area = SVGBackend::new(file, SIZE).into_drawing_area();
    let result = area.fill(&WHITE).map_err(DrawError::from).and_then(|()| {
        let area = area.titled(title, (FONT, 20))?;
        body(&area)
    });
    result
        .and_then(|()| Ok(area.present()?))
        .map_err(|error| anyhow!("cannot draw {}: {error}", file.display()))
}

type DrawError = Box<dyn std::error::Error + Send + Sync>;

fn linear(values: Range<f64>) -> RangedCoordf64 {
    values.into()
}

/// The label at a place, if the place is one of a label.
fn label(labels: &[String], place: f64) -> String {
    let found = labels.iter().enumerate().find(|(index, _)| (*index as f64 - place).abs() < 1e-6);
    found.map(|(_, label)| label.clone()).unwrap_or_default()
}

/// A value of an axis.
fn short(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{} M", value / 1e6),
        value if value >= 1e3 => format!("{} k", value / 1e3),
        value => RangedCoordf64::format(&((value * 100.0).round() / 100.0)),
    }
}

/// How a server is drawn: always in its own color, ours thicker.
fn style(server: &str) -> ShapeStyle {
    let width = if server == OURS { 4 } else { 2 };
    let color = match server {
        FLOOR => RGBColor(120, 120, 120),
        OURS => RGBColor(200, 30, 30),
        OURS_STREAMED => RGBColor(240, 130, 130),
        peer => {
            let index = SERVERS.iter().position(|server| server.name == peer).unwrap_or_default();
            PEERS[index % PEERS.len()]
        }
    };
    color.stroke_width(width)
}

/// Colors that people who see colors differently can tell apart, too.
const PEERS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(86, 180, 233),
    RGBColor(204, 121, 167),
    RGBColor(140, 100, 40),
    RGBColor(90, 60, 150),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn chart(series: Vec<Series>) -> Chart {
        Chart {
            title: "CPU".to_owned(),
            across: "payload".to_owned(),
            up: "x floor".to_owned(),
            labels: vec!["20 B".to_owned(), "1 KiB".to_owned()],
            series,
            bottom: 0.0,
            top: None,
        }
    }

    #[test]
    fn a_chart_has_a_line_and_a_name_for_each_server() {
        let folder = tempfile::tempdir().expect("a folder for scratch files");
        let file = folder.path().join("charts").join("echo.svg");
        let chart = chart(vec![(OURS, vec![Some(1.02), Some(1.03)]), ("yawc", vec![Some(1.5), None])]);
        assert!(chart.lines(&file).expect("drawn"));
        let svg = fs::read_to_string(&file).expect("written");
        for text in ["CPU", OURS, "yawc", "20 B", "1 KiB", "x floor"] {
            assert!(svg.contains(text), "{text}");
        }
        assert!(chart.bars(&file).expect("drawn"));
        assert!(fs::read_to_string(&file).expect("written").contains("yawc"));
    }

    #[test]
    fn a_line_that_goes_too_high_ends_and_begins_again() {
        let folder = tempfile::tempdir().expect("a folder for scratch files");
        let file = folder.path().join("echo.svg");
        let values = [1.0, 1.1, 9.0, 1.2, 1.3].map(Some).to_vec();
        let lines = |top| {
            let chart = Chart { top, ..chart(vec![("yawc", values.clone())]) };
            chart.lines(&file).expect("drawn");
            let RGBAColor(red, green, blue, _) = style("yawc").color;
            let color = format!("#{red:02X}{green:02X}{blue:02X}");
            let svg = fs::read_to_string(&file).expect("written");
            // The line in the legend is one of them, too.
            svg.lines().filter(|line| line.starts_with("<polyline") && line.contains(&color)).count()
        };
        assert_eq!((lines(None), lines(Some(4.0))), (2, 3));
    }

    #[test]
    fn nothing_is_drawn_of_nothing() {
        let folder = tempfile::tempdir().expect("a folder for scratch files");
        let file = folder.path().join("echo.svg");
        assert!(!chart(vec![(OURS, vec![None, None])]).lines(&file).expect("nothing to do"));
        assert!(!chart(Vec::new()).bars(&file).expect("nothing to do"));
        assert!(!file.exists());
    }

    #[test]
    fn values_of_an_axis_are_short() {
        assert_eq!([short(1.5), short(2000.0), short(3e6)], ["1.5", "2 k", "3 M"]);
    }
}
