/**
 * What is compared with ours but not installed with it: `npm install --prefix packages/core/bench/peers` does. Nobody who uses or checks this repository
 * pays for it, so their types are not there either, and what is used of them is written down where it is used.
 */
import { createRequire } from "node:module"

class NotInstalled extends Error {
  override readonly name = "NotInstalled"
}

const require = createRequire(new URL("../peers/package.json", import.meta.url))

/** A module of theirs, as whoever asks knows it. */
export const peer = <Module>(name: string): Module => {
  try {
    return require(name)
  } catch (error) {
    if (Object(error).code !== "MODULE_NOT_FOUND") throw error
    throw new NotInstalled(`${name} is not installed: npm install --prefix packages/core/bench/peers`)
  }
}
