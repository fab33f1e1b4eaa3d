"""What `import idemcore` offers to Python programs: files and arrays in, pictures, certificates and records out."""
