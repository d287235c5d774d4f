import { starting } from "../children.js"

export default starting(100_000)
