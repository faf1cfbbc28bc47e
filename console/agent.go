package console

import "strings"

// agentNames are words in a User-Agent and what they mean to people. The first that is there counts: browsers name those
// whose sites they want to be served like.
type agentNames []struct{ word, name string }

var browsers = agentNames{
	{"Edg/", "Edge"}, {"EdgA/", "Edge"}, {"EdgiOS/", "Edge"}, {"OPR/", "Opera"}, {"Vivaldi/", "Vivaldi"}, {"SamsungBrowser/", "Samsung Internet"}, {"YaBrowser/", "Yandex Browser"},
	{"Firefox/", "Firefox"}, {"FxiOS/", "Firefox"}, {"CriOS/", "Chrome"}, {"HeadlessChrome/", "Chrome"}, {"Chromium/", "Chromium"}, {"Chrome/", "Chrome"},
	{"Safari/", "Safari"}, {"Trident/", "Internet Explorer"}, {"MSIE ", "Internet Explorer"},
	{"curl/", "curl"}, {"Wget/", "Wget"}, {"Go-http-client/", "a Go program"}, {"python-requests/", "a Python program"}, {"okhttp/", "an Android app"},
}

var systems = agentNames{
	{"iPhone", "iPhone"}, {"iPad", "iPad"}, {"Android", "Android"}, {"CrOS", "ChromeOS"}, {"Windows", "Windows"},
	{"Macintosh", "macOS"}, {"Mac OS X", "macOS"}, {"FreeBSD", "FreeBSD"}, {"OpenBSD", "OpenBSD"}, {"Linux", "Linux"}, {"X11", "Unix"},
}

func (names agentNames) of(agent string) string {
	for _, n := range names {
		if strings.Contains(agent, n.word) {
			return n.name
		}
	}
	return ""
}

// describeAgent returns browser and system of a User-Agent, as people call them. Browsers say what they like there: it
// proves nothing.
func describeAgent(agent string) string {
	browser, system := browsers.of(agent), systems.of(agent)
	switch {
	case browser != "" && system != "":
		return browser + " on " + system
	case browser != "":
		return browser
	case system != "":
		return "A browser on " + system
	case agent == "":
		return "A browser that does not say what it is"
	}
	return "An unknown browser"
}
