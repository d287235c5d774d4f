"use strict"
// Every `npm …` task starts here. This file keeps to ES5 and to Node's oldest modules, so that an old Node can still read
// it and say what is wrong in one line; everything else is behind the `require` at its end.
var oldest = require("../package.json").engines.node.replace(/[^0-9.]/g, "")

/** Is the version `have` at least `need`? Major and minor decide. @param {string} have @param {string} need */
function atLeast(have, need) {
  var left = have.split(".")
  var right = need.split(".")
  return Number(left[0]) === Number(right[0]) ? Number(left[1]) >= Number(right[1]) : Number(left[0]) > Number(right[0])
}

if (atLeast(process.versions.node, oldest)) {
  require("./bootstrap/run.cjs")(process.argv.slice(2))
} else {
  process.stderr.write("Effecto needs Node " + oldest + " or newer, and this is Node " + process.versions.node + ".\n")
  process.exit(1)
}
