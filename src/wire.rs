//! Messages and their bytes: typed on one side, encoded on the other.
