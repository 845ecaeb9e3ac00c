"""Programs for fastnn's own development; nothing here is installed."""
