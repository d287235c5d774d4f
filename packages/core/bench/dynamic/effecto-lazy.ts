import { dynamic } from "../dynamic.js"

export default dynamic(1_000, "lazy")
