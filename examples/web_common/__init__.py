"""What both web apps share: nothing here knows a framework, nor which driver it stores with."""
