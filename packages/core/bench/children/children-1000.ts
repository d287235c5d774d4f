import { starting } from "../children.js"

export default starting(1_000)
