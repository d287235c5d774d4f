import { effectoWith } from "../sized.js"

export default effectoWith(1_000_000)
