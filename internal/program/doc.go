// Package program is what our programs have in common. Towards the system that
// runs them: lines for systemd's journal, word to its service manager, the
// version. Towards the person who types: failures with an exit code and a hint,
// commands and their help, and text that is fit for a terminal.
package program
