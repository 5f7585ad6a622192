"""The directory's SQL, one file per aggregate. Each repository lives on one session; none commits."""
