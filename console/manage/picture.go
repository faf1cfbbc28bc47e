package manage

import (
	"fmt"
	"math"
	"net/url"
	"strings"

	"sallyport/access"
)

// picture is how people reach a route, as SVG: a column each for people, groups, rules and the route, and lines between them
// with the numbers of people. It is as readable with 5,000 people as with five.
type picture struct {
	Width, Height int
	Label         string // for screen readers
	Nodes         []pictureNode
	Lines         []pictureLine
	Rows          []pictureRow // the same as a table
}

// pictureRow says how many people a rule lets in as members of a group.
type pictureRow struct {
	Group, Link string
	Rule, Text  string
	Users       string
}

// maxRows is how many rows the table beside a picture has.
const maxRows = 100

// rowsOf returns the rows of a picture, and of rules that keep people out of a part.
func (h *Handler) rowsOf(p access.Picture) (rows []pictureRow) {
	names, texts := map[string]string{"": h.say("picture.other")}, map[string]string{}
	for _, g := range p.Groups {
		if g.Group.ID != "" {
			names[g.Group.ID] = g.Group.DisplayName
		}
	}
	for _, r := range p.Rules {
		texts[r.Name] = r.Effect + ": " + r.Text
	}
	for _, e := range p.Edges {
		row := pictureRow{Group: names[e.Group], Rule: e.Rule, Text: texts[e.Rule], Users: count(e.Users)}
		if e.Group != "" {
			row.Link = Path + "/groups/" + url.PathEscape(e.Group)
		}
		rows = append(rows, row)
	}
	for _, r := range p.Rules {
		if r.Effect == "deny" {
			rows = append(rows, pictureRow{Group: h.say("picture.kept_out"), Rule: r.Name, Text: texts[r.Name], Users: "−" + count(r.Users)})
		}
	}
	return rows[:min(len(rows), maxRows)]
}

// pictureNode is a box.
type pictureNode struct {
	X, Y, W, H    int
	Class         string
	Title         string // the whole text, on hover
	First, Second string // lines of text
}

// FirstY and SecondY are the baselines of the text.
func (n pictureNode) FirstY() int { return n.Y + n.H/2 - 3 }

// SecondY is that of the second line.
func (n pictureNode) SecondY() int { return n.Y + n.H/2 + 14 }

// TextX is where the text begins.
func (n pictureNode) TextX() int { return n.X + 12 }

// pictureLine leads from one box to another.
type pictureLine struct {
	Path   string
	Class  string
	Width  string // of the stroke
	Text   string // a number; "" for none
	TX, TY int
}

// Measures of a picture, in pixels at its full size.
const (
	pictureWidth = 1040
	nodeHeight   = 46
	nodeGap      = 12
	portHeight   = 20 // between the ends of lines at a box
	letterWidth  = 6.6
	maxNodes     = 12 // in a column, beside one for the rest
)

// pictureColumns are the left edges and widths of the columns.
var pictureColumns = [4][2]int{{1, 130}, {235, 230}, {570, 260}, {930, 109}}

// sketch lays out a picture.
type sketch struct {
	h       *Handler
	picture *picture
	columns [4][]int      // indexes of nodes
	ports   map[int][]int // the lines that end at a node
	ends    [][2]int      // the nodes of each line
}

// draw returns the picture of a route. of is the name of the only person whom it is about, or "".
func (h *Handler) draw(p access.Picture, of string) *picture {
	s := &sketch{h: h, picture: &picture{Width: pictureWidth, Label: h.say("picture.label", p.Route, count(p.Users))}, ports: map[int][]int{}}
	route := s.node(3, pictureNode{Class: "route", First: p.Route, Title: p.Route})
	rules := s.rules(p, route)
	people := -1
	if p.Users > 0 {
		first := h.say("picture.people", count(p.Users))
		if of != "" {
			first = of
		}
		people = s.node(0, pictureNode{Class: "people", First: first, Title: first})
	}
	s.groups(p, people, rules)
	s.others(p, rules)
	s.layOut()
	s.picture.Rows = h.rowsOf(p)
	return s.picture
}

// rules draws the rules, and returns their nodes by name. Those beyond the bound share the last node.
func (s *sketch) rules(p access.Picture, route int) map[string]int {
	nodes, rest := map[string]int{}, -1
	for i, r := range p.Rules {
		if i >= maxNodes && len(p.Rules) > maxNodes+1 {
			if rest < 0 {
				rest = s.node(2, pictureNode{Class: "rest", First: s.h.more(len(p.Rules) - maxNodes)})
				s.line(rest, route, "rest", 0, "")
			}
			nodes[r.Name] = rest
			continue
		}
		n := s.node(2, pictureNode{Class: r.Effect, First: r.Name, Second: r.Effect + ": " + r.Text, Title: r.Name + " – " + r.Effect + ": " + r.Text})
		nodes[r.Name] = n
		if r.Effect == "deny" {
			s.line(n, route, "deny", r.Users, "−"+count(r.Users))
		} else if r.Users > 0 {
			s.line(n, route, "", r.Users, count(r.Users))
		} else {
			s.line(n, route, "", 1, "")
		}
	}
	return nodes
}

// groups draws the groups, with lines from people and to rules.
func (s *sketch) groups(p access.Picture, people int, rules map[string]int) {
	nodes, rest, drawn := map[string]int{}, -1, map[[2]int]bool{}
	for i, g := range p.Groups {
		switch {
		case g.Group.ID == "":
			nodes[""] = s.node(1, pictureNode{Class: "other", First: s.h.say("picture.other"), Title: s.h.say("picture.other_long")})
		case i >= maxNodes && len(p.Groups) > maxNodes+1:
			if rest < 0 {
				rest = s.node(1, pictureNode{Class: "rest", First: s.h.more(len(p.Groups) - maxNodes)})
				s.line(people, rest, "rest", 0, "")
			}
			nodes[g.Group.ID] = rest
			continue
		default:
			nodes[g.Group.ID] = s.node(1, pictureNode{Class: "group", First: g.Group.DisplayName, Second: s.h.say("picture.members", count(g.Group.Members)),
				Title: g.Group.DisplayName})
		}
		s.line(people, nodes[g.Group.ID], "", g.Users, count(g.Users))
	}
	for _, e := range p.Edges {
		from, to := nodes[e.Group], rules[e.Rule]
		if from == rest && rest >= 0 || s.picture.Nodes[to].Class == "rest" {
			if !drawn[[2]int{from, to}] {
				drawn[[2]int{from, to}] = true
				s.line(from, to, "rest", 0, "")
			}
			continue
		}
		s.line(from, to, "", e.Users, count(e.Users))
	}
}

// others draws who beside people reaches the route: anyone, and applications together.
func (s *sketch) others(p access.Picture, rules map[string]int) {
	apps, drawn := -1, map[[2]int]bool{}
	for _, o := range p.Others {
		var from int
		if o.Kind == "anyone" {
			from = s.node(1, pictureNode{Class: "anyone", First: s.h.say("picture.anyone"), Title: s.h.say("picture.anyone")})
		} else {
			if apps < 0 {
				apps = s.node(1, pictureNode{Class: "other", First: s.h.apps(p.Apps), Title: strings.Join(p.Apps[:min(len(p.Apps), maxNodes)], ", ")})
			}
			from = apps
		}
		for _, way := range o.Allowed {
			if to, ok := rules[way.Rule]; ok && !drawn[[2]int{from, to}] {
				drawn[[2]int{from, to}] = true
				s.line(from, to, "", 1, "")
			}
		}
	}
}

func (s *sketch) node(column int, n pictureNode) int {
	n.X, n.W = pictureColumns[column][0], pictureColumns[column][1]
	letters := int(float64(n.W-20) / letterWidth)
	if n.Title == "" {
		n.Title = n.First
	}
	n.First, n.Second = shorten(n.First, letters), shorten(n.Second, letters)
	s.picture.Nodes = append(s.picture.Nodes, n)
	i := len(s.picture.Nodes) - 1
	s.columns[column] = append(s.columns[column], i)
	return i
}

// line draws a line for so many people.
func (s *sketch) line(from, to int, class string, people int, text string) {
	if from < 0 || to < 0 {
		return
	}
	width := 1.5 + math.Min(math.Log2(float64(people)+1), 12)*0.6
	s.ports[to] = append(s.ports[to], len(s.picture.Lines))
	s.ends = append(s.ends, [2]int{from, to})
	s.picture.Lines = append(s.picture.Lines, pictureLine{Class: class, Width: fmt.Sprintf("%.1f", width), Text: text})
}

// layOut places the boxes, each as high as the lines that end there demand, and then the lines.
func (s *sketch) layOut() {
	nodes, height := s.picture.Nodes, 0
	heights := [4]int{}
	for c, column := range s.columns {
		for _, i := range column {
			nodes[i].H = max(nodeHeight, len(s.ports[i])*portHeight+8)
			heights[c] += nodes[i].H + nodeGap
		}
		height = max(height, heights[c])
	}
	for c, column := range s.columns {
		y := (height-heights[c])/2 + nodeGap/2
		for _, i := range column {
			nodes[i].Y = y
			y += nodes[i].H + nodeGap
		}
	}
	s.picture.Height = height
	for to, lines := range s.ports {
		for port, i := range lines {
			from := nodes[s.ends[i][0]]
			x1, y1, x2 := from.X+from.W, from.Y+from.H/2, nodes[to].X
			y2 := nodes[to].Y + nodes[to].H/2 + (2*port-len(lines)+1)*portHeight/2
			bend := (x2 - x1) / 2
			line := &s.picture.Lines[i]
			line.Path = fmt.Sprintf("M%d %dC%d %d %d %d %d %d", x1, y1, x1+bend, y1, x2-bend, y2, x2, y2)
			line.TX, line.TY = x2-8, y2-4
		}
	}
}

// shorten returns a text that takes at most so many letters. A letter of East Asian scripts takes as much as two.
func shorten(text string, letters int) string {
	width := 0
	for i, r := range text {
		width++
		if r >= 0x1100 {
			width++
		}
		if width > letters-1 && len(text)-i > len(string(r)) {
			return strings.TrimSpace(text[:i]) + "…"
		}
	}
	return text
}
