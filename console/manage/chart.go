package manage

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// The size of a chart in the units of its SVG, which is stretched to the place that it has.
const chartWidth, chartHeight = 960, 200

// The units of charts.
const (
	unitCount   = ""        // requests and the like in a step
	unitSeconds = "seconds" // how long something took
)

// chart is a picture of series over time: SVG of the server, and numbers for the module that draws one to zoom into.
type chart struct {
	Name   string    `json:"name"`
	Title  string    `json:"title"`
	Unit   string    `json:"unit"`
	Stack  bool      `json:"stack"` // each series upon those before it
	Begin  int64     `json:"begin"` // of the first point, in seconds since 1970
	Step   float64   `json:"step"`  // seconds
	Series []*series `json:"series"`

	Empty bool    `json:"-"`
	Top   string  `json:"-"` // the labels of the axis
	Mid   string  `json:"-"`
	Ticks []tick  `json:"-"`
	max   float64 // of the axis
	until time.Time
}

// series is one line or area of a chart. A value is nil where it is not known.
type series struct {
	Name   string     `json:"name"`
	Class  string     `json:"class"` // of its colour: s1 to s6
	Values []*float64 `json:"values"`
	Shown  string     `json:"-"` // its total, or newest value
	Path   string     `json:"-"`
}

// tick is a label of the axis of time.
type tick struct {
	Time time.Time
	Form string // how the module writes it: clock or day
}

// newChart returns a chart of points from a time on.
func (h *Handler) newChart(name, unit string, stack bool, from time.Time, step time.Duration, points int) *chart {
	c := &chart{Name: name, Title: h.say("overview.chart." + name), Unit: unit, Stack: stack, Begin: from.Unix(), Step: step.Seconds(), Series: []*series{}, until: from.Add(time.Duration(points) * step)}
	for i := range 5 {
		form := "clock"
		if time.Duration(points)*step > 36*time.Hour {
			form = "day"
		}
		c.Ticks = append(c.Ticks, tick{from.Add(time.Duration(points) * step * time.Duration(i) / 4), form})
	}
	return c
}

// add adds a series.
func (c *chart) add(name, class, shown string, values []*float64) {
	c.Series = append(c.Series, &series{Name: name, Class: class, Shown: shown, Values: values})
}

// draw makes the SVG of the series, once all are there.
func (c *chart) draw() *chart {
	sums := make([]float64, 0)
	cumulated := make([][]*float64, len(c.Series))
	c.Empty = true
	for i, s := range c.Series {
		if sums == nil || len(sums) < len(s.Values) {
			sums = append(sums, make([]float64, len(s.Values)-len(sums))...)
		}
		line := make([]*float64, len(s.Values))
		for j, v := range s.Values {
			if v == nil {
				continue
			}
			c.Empty = c.Empty && *v == 0
			value := *v
			if c.Stack {
				sums[j] += value
				value = sums[j]
			}
			line[j] = &value
			c.max = math.Max(c.max, value)
		}
		cumulated[i] = line
	}
	c.max = roundUp(c.max, c.Unit == unitCount)
	for i, s := range c.Series {
		if c.Stack {
			s.Path = c.area(cumulated[i])
		} else {
			s.Path = c.line(cumulated[i])
		}
	}
	c.Top, c.Mid = c.label(c.max), c.label(c.max/2)
	return c
}

// Drawn returns the series in the order in which they are drawn: of a stack, the highest first.
func (c *chart) Drawn() []*series {
	list := make([]*series, 0, len(c.Series))
	for i := range c.Series {
		if c.Stack {
			i = len(c.Series) - 1 - i
		}
		list = append(list, c.Series[i])
	}
	return list
}

// area returns the outline of an area of steps.
func (c *chart) area(values []*float64) string {
	var d strings.Builder
	fmt.Fprintf(&d, "M0 %d", chartHeight)
	last := -1
	for i, v := range values {
		y := chartHeight
		if v != nil {
			y = c.y(*v)
		}
		if y != last {
			fmt.Fprintf(&d, "H%sV%d", c.x(i, len(values)), y)
			last = y
		}
	}
	fmt.Fprintf(&d, "H%dV%dZ", chartWidth, chartHeight)
	return d.String()
}

// line returns a line through the middle of each step, with gaps where values are not known.
func (c *chart) line(values []*float64) string {
	var d strings.Builder
	draws := false
	for i, v := range values {
		if v == nil {
			draws = false
			continue
		}
		command := "L"
		if !draws {
			command = "M"
		}
		draws = true
		x := (float64(i) + .5) * chartWidth / float64(len(values))
		fmt.Fprintf(&d, "%s%s %d", command, short1(x), c.y(*v))
		if i+1 == len(values) || values[i+1] == nil {
			d.WriteString("h.1") // so that a value alone is a dot
		}
	}
	return d.String()
}

func (c *chart) x(i, points int) string { return short1(float64(i) * chartWidth / float64(points)) }

func (c *chart) y(v float64) int {
	if c.max == 0 {
		return chartHeight
	}
	return chartHeight - int(math.Round(v/c.max*chartHeight))
}

// short1 returns a number with at most one digit behind the point.
func short1(x float64) string { return strconv.FormatFloat(math.Round(x*10)/10, 'f', -1, 64) }

// roundUp returns the next of 1, 2, 5, 10, 20 and so on; at least 4 for what is counted.
func roundUp(v float64, counts bool) float64 {
	if counts && v <= 4 {
		return 4
	}
	if v <= 0 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, factor := range []float64{1, 2, 4, 5, 8, 10} {
		if v <= factor*power*1.000001 {
			return factor * power
		}
	}
	return v
}

// label returns a value of the axis.
func (c *chart) label(v float64) string {
	if c.Unit == unitSeconds {
		return tookText(time.Duration(v * float64(time.Second)))
	}
	return Cell{Number: &v}.Shown()
}

// tookText returns how long something took, with two digits or so.
func tookText(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%.2g ms", d.Seconds()*1000)
	case d < time.Second:
		return fmt.Sprintf("%.0f ms", d.Seconds()*1000)
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	}
	return stepText(d)
}

// stepText returns a length of time in its largest unit that divides it, such as 90 min.
func stepText(d time.Duration) string {
	for _, unit := range []struct {
		length time.Duration
		name   string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "min"}, {time.Second, "s"}} {
		if rounded := d.Round(unit.length); rounded >= unit.length && (rounded-d).Abs() <= d/50 {
			return fmt.Sprintf("%d %s", rounded/unit.length, unit.name)
		}
	}
	return short(d)
}

// counted returns the values of a series of counts.
func counted[N uint32 | int32](counts []N) []*float64 {
	values := make([]*float64, len(counts))
	for i, n := range counts {
		if n >= 0 { // -1 is not known
			v := float64(n)
			values[i] = &v
		}
	}
	return values
}
