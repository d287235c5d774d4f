import { mapWith } from "../sized.js"

export default mapWith(1_000_000)
