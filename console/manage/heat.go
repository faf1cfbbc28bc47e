package manage

import (
	"fmt"
	"math"

	"sallyport/audit/rollup"
)

// heatMap is when a route is used, as SVG: a row for each day of the week, from Monday, and a column for each hour.
type heatMap struct {
	Zone  string
	Label string // for screen readers
	Days  []heatText
	Hours []heatText
	Cells []heatCell
	Total string
}

// heatText is a label of the map.
type heatText struct {
	Text string
	X, Y int
}

// heatCell is one hour of the week.
type heatCell struct {
	X, Y  int
	Class string // heat-0 to heat-6
	Title string
}

// Measures of a heat map.
const (
	heatLeft, heatTop     = 44, 20
	heatWidth, heatHeight = 34, 24
	heatShades            = 6
)

// heatOf draws a heat map; nil if the route was not used.
func (h *Handler) heatOf(heat rollup.Heat, zone string) *heatMap {
	most, total := uint64(0), uint64(0)
	for _, day := range heat {
		for _, n := range day {
			most, total = max(most, n), total+n
		}
	}
	if total == 0 {
		return nil
	}
	if zone == "" {
		zone = "UTC"
	}
	m := &heatMap{Zone: zone, Total: count(int(min(total, 1<<62))), Label: h.say("heat.label", zone)}
	for hour := 0; hour < 24; hour += 3 {
		m.Hours = append(m.Hours, heatText{fmt.Sprintf("%02d", hour), heatLeft + hour*heatWidth + 4, heatTop - 6})
	}
	for row := range 7 {
		day := (row + 1) % 7 // from Monday; Sunday is 0
		name := h.say(fmt.Sprintf("heat.day%d", day))
		y := heatTop + row*heatHeight
		m.Days = append(m.Days, heatText{name, 0, y + heatHeight - 8})
		for hour, n := range heat[day] {
			shade := 0
			if n > 0 {
				shade = int(math.Ceil(float64(n) / float64(most) * heatShades))
			}
			m.Cells = append(m.Cells, heatCell{heatLeft + hour*heatWidth, y, fmt.Sprintf("heat-%d", min(shade, heatShades)), fmt.Sprintf("%s %02d–%02d: %s", name, hour, (hour+1)%24, count(int(min(n, 1<<62))))})
		}
	}
	return m
}
