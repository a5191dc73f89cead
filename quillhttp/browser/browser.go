// Package browser tests quillhttp's page in headless Chromium, and makes the pictures in docs.
//
//	npm ci --ignore-scripts
//	go test ./...
//	QUILL_PICTURES=../../docs/pictures go test -run TestThePage .
//
// It is a module and a directory of its own, because it needs Chromium, Node and two packages of npm: puppeteer-core, which drives
// the browser, and axe-core, which looks for what hinders people with a screen reader or a keyboard.
package browser
