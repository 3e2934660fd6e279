// Package program is what our programs have in common towards the system that
// runs them: lines for systemd's journal, word to its service manager, the
// version, and text that is fit for a terminal.
package program
